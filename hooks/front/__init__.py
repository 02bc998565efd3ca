"""The wizard of `make lab`: it asks the template's questions, goes back, stops and resumes, and hands over to Copier.

template.py      the questions, evaluated in a Jinja environment with copier.yml's settings
conversation.py  what is asked next, back, the summary, a changed answer
kept.py          the answers so far, in the owner's state folder
layout.py        a question as lines of a terminal
asking.py        what each way of asking can do
screen.py        it with questionary, for a terminal with a cursor
plain.py         it with plain lines, for a screen reader
"""
