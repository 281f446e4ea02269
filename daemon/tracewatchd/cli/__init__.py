"""The door: commands, their options, what they print and how they exit."""

from tracewatchd.service.memory import collect_seldom

# Before all other imports: collecting their garbage would take a fifth of the time that a command needs to start.
collect_seldom()
