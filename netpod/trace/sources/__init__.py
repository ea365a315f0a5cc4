"""What a trace listens to: one module per source; each counts what it lost."""
