"""A trace in other forms than the tree: table, mermaid, html, pcapng. Pure: trace → text or bytes."""
