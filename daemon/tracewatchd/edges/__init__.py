"""One outside thing each: a folder, its watch, its file system, writing a file. They do not know each other."""
