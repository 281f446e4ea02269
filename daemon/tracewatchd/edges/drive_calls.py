"""Requests to Drive in the name of an account, their failures classified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from tracewatchd.edges.drive_auth import Tokens
from tracewatchd.edges.drive_http import Answer, BusyError, Http, Patience, accepted

_ALL_DRIVES = {"supportsAllDrives": "true"}
_UNAUTHORIZED = 401
_OK = 200


class Question(NamedTuple):
    """One request; ``doing`` completes the sentence "Google Drive did not ..."."""

    doing: str
    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes | None = None

    def __repr__(self) -> str:
        """No address in it: one may be an upload session's, which is a secret."""
        return f"Question({self.doing!r})"

    def saying(self, content: Mapping[str, object]) -> Question:
        """The same with a JSON body."""
        headers = {**self.headers, "Content-Type": "application/json; charset=UTF-8"}
        return self._replace(headers=headers, body=msgspec.json.encode(content))


class DriveCalls:
    """Requests to Drive: a token that has ended is renewed, what may heal is told from what will not."""

    def __init__(self, http: Http, tokens: Tokens, patience: Patience, *, endpoint: str) -> None:
        self.patience = patience
        self.endpoint = endpoint.rstrip("/")
        self._http = http
        self._tokens = tokens

    def address(self, path: str, **parameters: str) -> str:
        """Where a method of Drive is; shared drives are always meant, too."""
        return f"{self.endpoint}{path}?{urlencode({**_ALL_DRIVES, **parameters}, quote_via=quote)}"

    async def ask(self, question: Question, *statuses: int) -> Answer:
        """The answer to what may be asked repeatedly, tried again for as long as patience goes.

        Args:
            question: what is asked.
            statuses: those that count as an answer; 200 where none is named.

        Raises:
            BusyError: patience ran out.
            PermanentError: trying again would not help.
        """
        return await self.patience.over(lambda: self.once(question, *statuses))

    async def once(
        self, question: Question, *statuses: int, limit_bytes: int | None = None, repeat: bool = True
    ) -> Answer:
        """One attempt, and one more where nothing but the token was wrong.

        Args:
            question: what is asked.
            statuses: those that count as an answer; 200 where none is named.
            limit_bytes: the longest answer that is read; else what is enough for any page of a list.
            repeat: False where what became of the first attempt has to be known before another one.

        Raises:
            BusyError: it may work later.
            PermanentError: it will not.
        """
        token = await self._tokens.current()
        answer = await self._send(question, token, limit_bytes)
        if answer.status == _UNAUTHORIZED:
            token = await self._tokens.instead_of(token)
            if not repeat:
                raise BusyError("the access to Google Drive had ended in the middle, and was renewed")
            answer = await self._send(question, token, limit_bytes)
        return accepted(answer, question.doing, *(statuses or (_OK,)))

    async def _send(self, question: Question, token: str, limit_bytes: int | None) -> Answer:
        headers = {**question.headers, "Authorization": f"Bearer {token}"}
        limit = {} if limit_bytes is None else {"limit_bytes": limit_bytes}
        return await self._http.once(question.method, question.url, headers=headers, body=question.body, **limit)
