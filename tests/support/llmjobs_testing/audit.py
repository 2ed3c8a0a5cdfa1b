"""Checks the whole store: every job in exactly one place, every number what it counts.

Reads Redis directly, by the names in the store's Lua library, so that it shares no code with what
it checks.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import redis

PREFIX = "llmjobs:"
TERMINAL = {"Succeeded", "Failed", "Cancelled", "Expired"}
LIVE = {"Pending", "Queued", "Running", "Suspended"}


class Audit:
    """One reading of a store that stands still meanwhile."""

    def __init__(self, client: redis.Redis, pools: Iterable[str]) -> None:
        self._r = client
        self._pools = tuple(pools)
        self._indexes: dict[str, set[str]] = {}
        self.jobs = {
            key[len(PREFIX) + 4 :]: self._hash(key[len(PREFIX) :])
            for key in sorted(k.decode() for k in client.scan_iter(f"{PREFIX}job:*", count=1000))
        }
        self.leases = self._members("leases")
        self.later = self._members("later")
        self.backlogs = {pool: self._members(f"backlog:{pool}") for pool in self._pools}

    def _hash(self, name: str) -> dict[str, str]:
        found: Any = self._r.hgetall(PREFIX + name)
        return {k.decode(): v.decode(errors="replace") for k, v in found.items()}

    def _members(self, name: str) -> set[str]:
        found: Any = self._r.zrange(PREFIX + name, 0, -1)
        return {item.decode() for item in found}

    def _index(self, name: str) -> set[str]:
        if name not in self._indexes:
            self._indexes[name] = self._members(f"ix:{name}")
        return self._indexes[name]

    def check(self) -> None:
        """Raise AssertionError at the first thing that is not as it must be."""
        for job_id, job in self.jobs.items():
            if job["kind"] == "batch":
                self._check_batch(job_id, job)
            else:
                self._check_single(job_id, job)
            self._check_end(job_id, job)
            self._check_index(job_id, job)
        self._check_leases()
        self._check_pools()
        self._check_depth()
        self._check_reasons()

    def number(self, job: dict[str, str], field: str) -> int:
        """Return a count of a job."""
        return int(job.get(field) or 0)

    def _waiting(self, job: dict[str, str]) -> int:
        ended = sum(self.number(job, f) for f in ("nok", "nfail", "ncan"))
        return self.number(job, "total") - ended - self.number(job, "nrun")

    def _check_single(self, job_id: str, job: dict[str, str]) -> None:
        places = {
            "backlog": job_id in self.backlogs[job["pool"]],
            "queue": self.number(job, "resv") == 1,
            "later": job_id in self.later,
            "running": job.get("urun") == "1",
        }
        found = [place for place, is_there in places.items() if is_there]
        state = job["st"]
        if state == "Queued":
            assert len(found) == 1, f"{job_id} waits in {found or 'no place'}"
            assert found != ["running"], job_id
        elif state == "Running":
            assert found == ["running"], f"{job_id} runs, and is in {found}"
        else:
            assert not found, f"{job_id} is {state}, and in {found}"
        assert self.number(job, "nrun") == int(places["running"]), job_id

    def _check_batch(self, job_id: str, job: dict[str, str]) -> None:
        state, total, fresh_from = job["st"], self.number(job, "total"), self.number(job, "next")
        redo = self._members(f"redo:{job_id}")
        runs = {item.decode() for item in self._smembers(f"runs:{job_id}")}
        done = set(self._hash(f"out:{job_id}"))
        assert self.number(job, "nrun") == len(runs), f"{job_id}: {runs}"
        assert self.number(job, "nok") + self.number(job, "nfail") == len(done), job_id
        in_chunks = self.number(job, "resv")
        if state in TERMINAL:
            assert not redo, f"{job_id} has ended, with lines to do again"
            assert not runs, f"{job_id} has ended, with lines that run"
            assert in_chunks == 0, job_id
            assert job_id not in self.backlogs[job["pool"]] | self.later, job_id
            return
        parts = [redo, runs, done]
        together = Counter(line for part in parts for line in part)
        handed_out = Counter({str(line): 1 for line in range(fresh_from)})
        assert together == handed_out, f"{job_id}: lines lost or doubled"
        if state in {"Suspended", "Pending"}:
            assert not runs, job_id
            assert in_chunks == 0, job_id
            assert job_id not in self.backlogs[job["pool"]] | self.later, job_id
            return
        left = total - fresh_from + len(redo)
        assert in_chunks <= left + len(runs), f"{job_id}: {in_chunks} of {left} are in chunks"
        is_findable = (
            job_id in self.backlogs[job["pool"]] or job_id in self.later or in_chunks >= left
        )
        assert is_findable, f"{job_id} has {left} lines that nothing leads to"

    def _smembers(self, name: str) -> set[bytes]:
        found: Any = self._r.smembers(PREFIX + name)
        return set(found)

    def _check_end(self, job_id: str, job: dict[str, str]) -> None:
        entries: Any = self._r.xrange(f"{PREFIX}ev:{job_id}")
        done = [at for at, (_, fields) in enumerate(entries) if fields[b"t"] == b"done"]
        if job["st"] in TERMINAL:
            assert done == [len(entries) - 1], f"{job_id}: its last event must be its one end"
            assert self._waiting(job) + self.number(job, "nrun") == 0, job_id
        else:
            assert done == [], f"{job_id} lives, and was told to have ended"
        if job["st"] == "Succeeded" and job["kind"] != "batch":
            assert len(self._hash(f"out:{job_id}")) == 1, f"{job_id} has not exactly one result"

    def _check_index(self, job_id: str, job: dict[str, str]) -> None:
        for namespace in (job["ns"], "*"):
            states = [s for s in LIVE | TERMINAL if job_id in self._index(f"{namespace}|{s}")]
            assert states == [job["st"]], f"{job_id} is {job['st']} and listed as {states}"
            why = f"{namespace}|{job['st']}|{job['reason']}"
            is_dead = job["st"] in TERMINAL and job["reason"] != job["st"]
            assert (job_id in self._members(f"ix:{why}")) == is_dead, f"{job_id}: index {why}"

    def _check_leases(self) -> None:
        running = {job_id for job_id, job in self.jobs.items() if job.get("urun") == "1"}
        for job_id, job in self.jobs.items():
            if job["kind"] == "batch":
                lines = self._smembers(f"runs:{job_id}")
                running |= {f"{job_id}:{line.decode()}" for line in lines}
        assert self.leases == running, "leases and running requests differ"
        on_brink = set(self._hash("brink").values())
        assert on_brink <= running, "a worker's place on the brink is held by what does not run"

    def _check_pools(self) -> None:
        for pool in self._pools:
            mine = [job for job in self.jobs.values() if job["pool"] == pool]
            active = [job for job in mine if job["st"] in {"Queued", "Running"}]
            numbers = self._hash(f"pool:{pool}")
            assert self.number(numbers, "q") == sum(self._waiting(job) for job in active), pool
            assert self.number(numbers, "run") == sum(self.number(j, "nrun") for j in mine), pool
            assert self.number(numbers, "sent") == sum(self.number(j, "resv") for j in mine), pool
            waiting_cost = sum(self._waiting(job) * self.number(job, "cost") for job in active)
            assert self.number(numbers, "qc") == waiting_cost, pool

    def _check_depth(self) -> None:
        found = {k: int(v) for k, v in self._hash("depth").items() if int(v) != 0}
        counted = Counter(f"{j['pool']}|{j['cls']}|{j['st']}" for j in self.jobs.values())
        assert found == dict(counted), "the depth counters differ from the jobs"

    def _check_reasons(self) -> None:
        """No index of a reason names a job that is not there, or that ended otherwise."""
        for key in self._r.scan_iter(f"{PREFIX}ix:*|*|*", count=1000):
            _, state, reason = key.decode().split("|")
            for job_id in self._members(key.decode()[len(PREFIX) :]):
                job = self.jobs.get(job_id, {})
                found = (job.get("st"), job.get("reason"))
                assert found == (state, reason), f"{job_id} is {found} and listed as {key!r}"
