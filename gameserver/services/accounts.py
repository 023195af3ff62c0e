"""Who somebody is: guests, and the signed tokens by which they come back.

    Exception
      TokenRefused
        TokenInvalid     it was not signed by us, or not for this
        TokenExpired     it was good once

A token proves an account and nothing else. A ticket proves that another node sent an account here
a moment ago, and lets in once. Both are EdDSA JWTs; the algorithm is fixed here and never taken
from them. They are not logged and not kept, but for the numbers of tickets that were used.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random, SystemRandom

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gameserver.services.names import cleaned
from gameserver.services.together import Together
from persistence.interfaces import StorageUnavailable, Store
from protocol.messages import INT_MAX

ALGORITHM = "EdDSA"
ISSUER = "gameserver"
AUDIENCE = "gameserver:play"
TICKET_AUDIENCE = "gameserver:node:"  # And the name of the node.
TICKET_LIFE_S = 10
GUEST_LIFE_S = 30 * 24 * 3600
# Other machines' clocks may be off by this much.
LEEWAY_S = 30
# After this no ticket that was used can be good any more, whoever's clock made it.
TICKET_KEPT_S = TICKET_LIFE_S + 2 * LEEWAY_S
CREATE_ATTEMPTS = 5
TOKEN_ID_BYTES = 12
REQUIRED_CLAIMS = ("iss", "aud", "sub", "iat", "exp", "jti")


class TokenRefused(Exception):
    """The token does not let anybody in."""


class TokenInvalid(TokenRefused):
    """The token is not one of ours."""


class TokenExpired(TokenRefused):
    """The token has been good once."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """Somebody who may come in, and the token to come back with, or "" to keep what they have."""

    account: int
    name: str
    token: str


class Accounts:
    """Makes guests and recognises them, at the ``node`` for which tickets are good.

    ``chance`` is the system's, which nobody can predict, but in simulations.
    """

    def __init__(
        self,
        store: Store,
        key: Ed25519PrivateKey,
        now_s: Callable[[], int],
        *,
        play_money_minor: int,
        chance: Random | None = None,
    ) -> None:
        self.node = ""
        self._store = store
        self._key = key
        self._public_key = key.public_key()
        self._now_s = now_s
        self._play_money_minor = play_money_minor
        self._chance = chance or SystemRandom()
        # All players come back at once after an outage.
        self._names = Together(self._names_of)
        # In the order in which they were used, and when. As many as handshakes allow in a minute.
        self._used_tickets: dict[str, int] = {}

    async def guest(self, name: str) -> Entrance:
        """Make a new account; raise BadName."""
        name = cleaned(name)
        for _ in range(CREATE_ATTEMPTS):
            account = 1 + self._chance.randrange(INT_MAX)
            if await self._store.create_person(account, name, self._play_money_minor):
                return Entrance(account, name, self.token(account))
        raise StorageUnavailable("no free account number was found")

    async def returning(self, token: str) -> Entrance:
        """Recognise the owner of a token; raise TokenRefused."""
        account, expires_s, ticket = self._claims(token)
        name = await self._names.about(account)
        if name is None:
            raise TokenInvalid("the account is not known")
        if ticket:
            self._use(ticket)
            token = ""
        elif expires_s - self._now_s() < GUEST_LIFE_S // 2:
            token = self.token(account)
        return Entrance(account, name, token)

    async def _names_of(self, accounts: Sequence[int]) -> Mapping[int, str]:
        return {person.account: person.name for person in await self._store.persons(accounts)}

    def verify(self, token: str) -> int:
        """Return the account that a token is for; raise TokenRefused."""
        return self._claims(token)[0]

    def token(self, account: int) -> str:
        """Return a new token for an account."""
        return self._signed(account, AUDIENCE, GUEST_LIFE_S)

    def ticket(self, account: int, node: str) -> str:
        """Return what lets an account in at another node, for a moment."""
        return self._signed(account, TICKET_AUDIENCE + node, TICKET_LIFE_S)

    def _use(self, ticket: str) -> None:
        """Let a ticket be good once; raise TokenInvalid the second time."""
        used, now_s = self._used_tickets, self._now_s()
        while used and now_s - next(iter(used.values())) > TICKET_KEPT_S:
            del used[next(iter(used))]
        if ticket in used:
            raise TokenInvalid("the ticket was used already")
        used[ticket] = now_s

    def _signed(self, account: int, audience: str, life_s: int) -> str:
        now_s = self._now_s()
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "sub": str(account),
            "iat": now_s,
            "exp": now_s + life_s,
            "jti": self._chance.randbytes(TOKEN_ID_BYTES).hex(),
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def _claims(self, token: str) -> tuple[int, int, str]:
        """Return the account, when its proof expires, and the ticket's number, "" for a token."""
        ticket_audience = TICKET_AUDIENCE + self.node
        try:
            claims = jwt.decode(
                token,
                self._public_key,
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=[AUDIENCE, ticket_audience],
                # Times are compared below, by the clock that we were given.
                options={
                    "require": list(REQUIRED_CLAIMS),
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.InvalidTokenError, ValueError) as error:
            raise TokenInvalid("the token is not one of ours") from error
        issued_s, expires_s, subject = claims["iat"], claims["exp"], claims["sub"]
        now_s = self._now_s()
        if type(issued_s) is not int or type(expires_s) is not int:
            raise TokenInvalid("the token's times are not numbers")
        if issued_s > now_s + LEEWAY_S:
            raise TokenInvalid("the token is from the future")
        if expires_s <= now_s - LEEWAY_S:
            raise TokenExpired("the token has expired")
        ticket = "" if claims["aud"] == AUDIENCE else str(claims["jti"])
        return _account(subject), expires_s, ticket


def _account(subject: object) -> int:
    if isinstance(subject, str) and subject.isascii() and subject.isdigit() and len(subject) <= 16:
        account = int(subject)
        if 1 <= account <= INT_MAX:
            return account
    raise TokenInvalid("the token names no account")
