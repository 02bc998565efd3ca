"""An update of a lab, around Copier's own: nothing is touched before all is known, and then it is written at once.

Copier renders the template of the last update and of today, each into a folder of its own, and asks its questions in
between. Left to itself it would then write into the lab, and patch the owner's changes onto that. Here it never writes
into the lab: all three versions of every file are merged in memory, and what comes of it is written in one short,
recorded step (journal.py).

    copier_contract.py  what is relied on in Copier, and how it is kept from the lab
    refusals.py         what stops an update, with the reason and the command
    state.py            what stands in the lab: files, index, commit
    moves.py            where the template's files went
    recorded.py         the answers of the last update, and those that were edited by hand since
    merging.py          one file out of its three versions
    pins.py             which tag of an image stands with which digest
    plan.py             what becomes of every file
    journal.py          the writing: all of it, or nothing, or finished by the next run
    findings.py         what the report tells
    effects.py          what a change does in the cluster
    releases.py         what becomes of a release's pods
    report.py           the text
    command.py          what the lab's own command runs: the choice of Copier and of the version, exit codes
"""
