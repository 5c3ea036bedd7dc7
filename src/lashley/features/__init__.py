"""What units encode: what heads do, and which units look strongest."""
