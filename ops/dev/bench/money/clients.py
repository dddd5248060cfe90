"""Buyers of the benchmark: one process with several threads, each a connection that buys one token after the other.

Started as `python -m ops.dev.bench.money.clients`; says `ready` when it is connected, begins at a line on its standard
input, and ends with its figures as JSON. Processes, because threads of one Python would wait for each other.
"""

import json
import sys
import threading
import time
from collections.abc import Sequence

from sqlalchemy import select

from models import database
from models.config import settings as config
from models.ledger import Account, AccountKind
from models.services.actor import Actor
from models.services.tokens import purchase as token_purchase
from models.users import User

HOURS = 1


def main(arguments: Sequence[str]) -> int:
    """Buy for some seconds with some threads from some wallets, beginning with the wallet of a number."""
    seconds, threads, wallets, first = float(arguments[0]), *(int(argument) for argument in arguments[1:4])
    settings = config.load_settings()
    factory = database.sessions(database.connect(settings.database))
    with factory() as session:
        query = select(Account.user_id).where(Account.kind == AccountKind.WALLET, Account.balance > 0)
        users = list(session.scalars(query.order_by(Account.id).limit(wallets)))
    latencies: list[list[float]] = [[] for _ in range(threads)]
    begin = threading.Event()
    end = [0.0]

    def buy(number: int) -> None:
        begin.wait()
        turn = first + number
        while time.monotonic() < end[0]:
            user_id = users[turn % len(users)]
            turn += 16
            begun = time.monotonic()
            with factory.begin() as session:
                user = session.get_one(User, user_id)
                token_purchase.purchase(
                    session, user, hours=HOURS, scope="full", name="", settings=settings, actor=Actor(user_id)
                )
            latencies[number].append((time.monotonic() - begun) * 1000)

    crowd = [threading.Thread(target=buy, args=(number,)) for number in range(threads)]
    for thread in crowd:
        thread.start()
    print("ready", flush=True)
    sys.stdin.readline()
    end[0] = time.monotonic() + seconds
    begin.set()
    for thread in crowd:
        thread.join()
    print(json.dumps([latency for each in latencies for latency in each]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
