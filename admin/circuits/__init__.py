"""What fails again and again, and letting it run again."""
