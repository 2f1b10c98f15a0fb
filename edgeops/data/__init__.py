"""What is decided of data: which rows may be learnt from and why not, how they are split, how two states differ."""
