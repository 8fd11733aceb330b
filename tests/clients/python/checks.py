"""Counts what a driver's script asserts, and ends the script with the line that the runner reads."""

import asyncio
import inspect
import os
import sys
import traceback

URL = os.environ["DATABASE_URL"]
LIMIT_SECONDS = 60


class Checks:
    """Functions decorated with `check`; each opens and closes its own connections."""

    def __init__(self, name):
        self.name = name
        self.functions = []

    def check(self, function):
        self.functions.append(function)
        return function

    def run(self):
        failed = 0
        for function in self.functions:
            try:
                if inspect.iscoroutinefunction(function):
                    asyncio.run(asyncio.wait_for(function(), LIMIT_SECONDS))
                else:
                    function()
            except Exception:
                failed += 1
                print(f"{self.name}: FAILED {function.__name__.replace('_', ' ')}")
                traceback.print_exc(limit=-4, file=sys.stdout)
        passed = len(self.functions) - failed
        print(f"{self.name}: {passed} checks passed" + (f", {failed} failed" if failed else ""))
        sys.exit(1 if failed else 0)
