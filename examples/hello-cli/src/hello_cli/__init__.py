"""Says where it runs, repeats its arguments, and exits as told."""
