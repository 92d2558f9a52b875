"""medalliond: a drop-folder daemon that turns files into trustworthy tables."""
