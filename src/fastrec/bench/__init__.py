"""`fastrec bench`: how fast jobs run on this machine, and how close that is to its limits."""
