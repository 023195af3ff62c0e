"""What a wallet holds and what went through it, and who is to be told when it changes.

It moves no money: rooms do that, through the journal's commit. A balance is told to all
connections of its account after the commit that changed it.
"""

from collections.abc import Iterable

from gameserver.runtime.viewers import Viewer
from persistence.interfaces import Store, WalletRow
from protocol import codec


class Wallet:
    """Answers for wallets and tells their owners."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # As many as there are connections. Dicts, because they keep their order.
        self._viewers: dict[int, dict[Viewer, None]] = {}

    def watch(self, viewer: Viewer) -> None:
        """Tell this connection about its account's balance from now on."""
        self._viewers.setdefault(viewer.account, {})[viewer] = None

    def unwatch(self, viewer: Viewer) -> None:
        """Tell this connection nothing more."""
        viewers = self._viewers.get(viewer.account, {})
        viewers.pop(viewer, None)
        if not viewers:
            self._viewers.pop(viewer.account, None)

    def on_balances(self, balances: Iterable[tuple[int, int]]) -> None:
        """Tell the owners of these accounts what they hold now, by a commit that is durable."""
        for account, balance_minor in balances:
            viewers = self._viewers.get(account)
            if viewers:
                payload = codec.balance(balance_minor)
                # A viewer that is too slow is closed by this, and unwatches itself.
                for viewer in tuple(viewers):
                    viewer.send(payload)

    async def balance(self, account: int) -> int:
        """Return what the wallet holds; 0 if there is none."""
        return await self._store.balance(account) or 0

    async def history(self, account: int, limit: int) -> tuple[WalletRow, ...]:
        """Return the newest transfers, newest first."""
        return await self._store.wallet_history(account, limit)
