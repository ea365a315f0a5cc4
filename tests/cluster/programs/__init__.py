"""Programs of others' making that tests start: they know nothing of netpod."""
