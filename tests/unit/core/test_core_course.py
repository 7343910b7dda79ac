"""What a fault goes on doing ends when it is told to, and says what went wrong."""

import threading

import pytest

from harness.faults.course import Course


def test_the_steps_are_made_one_after_the_other():
    done = []
    course = Course(lambda: (done.append(1), course.wait(0.01), done.append(2), over.set()))
    over = threading.Event()
    course.start()
    assert over.wait(5)
    course.halt()
    assert done == [1, 2]


def test_halting_cuts_a_wait_short():
    done, begun = [], threading.Event()
    course = Course(lambda: (begun.set(), course.wait(3600), done.append("never")))
    course.start()
    assert begun.wait(5)
    course.halt()
    assert done == []


def test_waiting_for_something_ends_with_it_or_with_the_time():
    told, over = [], threading.Event()

    def steps():
        told.append(course.wait_until(lambda: True, timeout_s=0))
        told.append(course.wait_until(lambda: False, timeout_s=0.01))
        over.set()
        course.wait_until(lambda: False)

    course = Course(steps)
    course.start()
    assert over.wait(5)
    course.halt()
    assert told == [True, False]


def test_what_went_wrong_in_a_step_is_raised_when_it_is_halted():
    course = Course(lambda: 1 / 0)
    course.start()
    with pytest.raises(ZeroDivisionError):
        course.halt()


def test_one_that_never_began_can_be_halted():
    Course(lambda: None).halt()
