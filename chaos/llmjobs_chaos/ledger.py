"""What the clients asked for and what they were told: the account that the system is checked by.

It is kept by the suite from the clients' side alone, so nothing that the system loses is lost here.
"""

from dataclasses import dataclass, field

from llmjobs_testing.engine_text import build_text


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request: its answer is the scripted text of so many tokens under this seed."""

    tokens: int
    seed: int
    """Unique in the ledger, so that an answer given to the wrong request shows."""
    rate: float = 0.0
    """Tokens a second; 0 is as fast as they go."""
    stall_at: int = -1

    @property
    def user(self) -> str:
        """How the engines' journals name the request."""
        return f"r{self.seed}"

    @property
    def text(self) -> str:
        """The one right answer."""
        return build_text(self.tokens, self.seed)


@dataclass(slots=True)
class Watched:
    """What a client saw that watched the job from its start."""

    text: str = ""
    resets: int = 0
    ends: list[str] = field(default_factory=list)
    """The states told by ``done`` events."""
    reconnects: int = 0
    last_id: str = ""


@dataclass(slots=True)
class Asked:
    """One job as its client knows it."""

    key: str
    """Its idempotency key; of an LLMJob, its name."""
    requests: tuple[Wanted, ...]
    is_batch: bool = False
    ids: set[str] = field(default_factory=set)
    """Every id that an answer to this key named: exactly one, if all is well."""
    refusals: int = 0
    """Submissions that got a 5xx or no answer, before one was accepted."""
    is_cancelled: bool = False
    """A cancel was answered with ``Cancelled``."""
    watched: Watched | None = None
    ends: list[str] = field(default_factory=list)
    """Terminal states it was seen in while things went on, each change noted."""

    @property
    def id(self) -> str:
        """The id of the accepted job."""
        (job_id,) = self.ids
        return job_id

    def note_end(self, state: str) -> None:
        """Note that it was seen in a terminal *state*."""
        if self.ends[-1:] != [state]:
            self.ends.append(state)


@dataclass(slots=True)
class Ledger:
    """All jobs of a scenario."""

    jobs: list[Asked] = field(default_factory=list)
    _seeds: int = 0

    def plan(self, *shapes: tuple[int, float], is_batch: bool = False, stall_at: int = -1) -> Asked:
        """Add one job with a request for each (tokens, rate); it is not submitted yet."""
        requests = []
        for tokens, rate in shapes:
            self._seeds += 1
            requests.append(Wanted(tokens, self._seeds, rate, stall_at))
        asked = Asked(f"key-{len(self.jobs)}", tuple(requests), is_batch)
        self.jobs.append(asked)
        return asked

    @property
    def accepted(self) -> list[Asked]:
        """The jobs that were accepted."""
        return [asked for asked in self.jobs if asked.ids]

    def find(self, user: str) -> Asked | None:
        """Return the job that the engines know by *user*."""
        return self.by_user().get(user)

    def by_user(self) -> dict[str, Asked]:
        """Return the job of each request, by the request's user."""
        return {wanted.user: asked for asked in self.jobs for wanted in asked.requests}
