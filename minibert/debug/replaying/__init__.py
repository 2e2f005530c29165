"""Any training step of a run again, bit for bit."""
