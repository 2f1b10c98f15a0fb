"""What is worth a label, when to learn again, and whether the result may ship: decisions alone."""
