"""What can be broken, how it is confirmed, and how it is always taken back."""
