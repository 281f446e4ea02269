"""The door: commands, their options, what they print and how they exit."""
