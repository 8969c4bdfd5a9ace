"""`fastrec bench`: how fast this machine is, and how far that is from what it can do."""
