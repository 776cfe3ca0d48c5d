"""What an error's detail tells of a deadlock."""

from dbtools.db.deadlock import DeadlockWait, parse_deadlock


def test_every_wait_of_the_circle_is_found() -> None:
    detail = (
        "Process 4711 waits for ShareLock on transaction 738; blocked by process 4712.\n"
        "Process 4712 waits for ExclusiveLock on tuple (0,1) of relation 16385 of database 5; blocked by process 13.\n"
        "Process 13 waits for ExclusiveLock on advisory lock [5,0,7,1]; blocked by process 4711."
    )
    assert parse_deadlock(detail) == [
        DeadlockWait(4711, "ShareLock", "transaction 738", 4712),
        DeadlockWait(4712, "ExclusiveLock", "tuple (0,1) of relation 16385 of database 5", 13),
        DeadlockWait(13, "ExclusiveLock", "advisory lock [5,0,7,1]", 4711),
    ]


def test_in_another_language_none_is_found() -> None:
    assert parse_deadlock("Prozess 1 wartet auf ShareLock-Sperre auf Transaktion 2; blockiert von Prozess 3.") == []
    assert parse_deadlock("") == []
