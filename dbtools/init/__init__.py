"""What `dbtools init` finds in a project, and the table [tool.dbtools] that it writes from that.

`survey.py` puts together what the other modules find, each of them a kind of project. They read file names and a few
files, and run nothing. What is only likely is called a guess, and what cannot be guessed is named.
"""
