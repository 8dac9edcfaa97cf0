"""What can be asked for: runs with their methods, traces, sweeps. Every field is declared once."""
