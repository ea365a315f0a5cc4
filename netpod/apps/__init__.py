"""Built-in containers: ordinary pods whose program is part of netpod, forked from the shim or its zygote.

Each is `main(context: AppContext) -> int`, runs inside the sandbox, says `context.ready()` once it listens, ends on
SIGTERM and returns its exit code. `echo.py` is the stand-in for any image that is not on this machine.
"""
