"""What each operation saves, costs and keeps alive."""
