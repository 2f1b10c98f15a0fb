"""What a version of a model tells people and programs of itself: its card, and its bill of materials."""
