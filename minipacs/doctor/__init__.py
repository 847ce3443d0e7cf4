"""`minipacs doctor`: checks of this machine and of its work, each with its remedy."""
