"""The dashboard: a page on 127.0.0.1 that shows the cluster, plays traces over it, and asks nobody else for anything.

Reads the API server as a viewer, by its unix socket; reads traces from the cluster's archive; runs the netpod command
for what needs the kernel (trace, rules). Never writes, unless the link that was opened has the right to edit. Imports
nothing until the first browser connects: a cluster without a viewer pays nothing for it.

Start reading in server.py; the page is static/, plain ES modules without a build step.
"""
