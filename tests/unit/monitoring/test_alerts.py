"""Each alert fires on what it is for, says so in words, and keeps quiet otherwise."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmjobs_monitoring.alerts import ALERTS, Alert, Times
from llmjobs_monitoring.inventory import list_series
from llmjobs_monitoring.rules import build_rules, render_rules
from llmjobs_testing import promql
from llmjobs_testing.prometheus_tools import ROOT, run_promtool

RULES = ROOT / "charts" / "llmjobs" / "files" / "alerts.yaml"
BY_NAME = {rule["alert"]: rule for rule in build_rules()["groups"][0]["rules"]}
POOL = 'pool="a/p"'


@dataclass(frozen=True)
class Case:
    """Series by the minute, and which alerts there are at a time."""

    alert: str
    what: str
    series: dict[str, str]
    at: str
    summary: str = ""
    """Empty where it must not fire."""
    labels: tuple[tuple[str, str], ...] = (("pool", "a/p"),)
    description: str = ""
    """Where it has templates."""

    def __str__(self) -> str:
        return f"{self.alert}-{self.what}"


def queue(queued: str, slots: str, running: str = "0x120") -> dict[str, str]:
    return {
        f"llmjobs_pool_requests_queued{{{POOL}}}": queued,
        f"llmjobs_pool_slots{{{POOL}}}": slots,
        f"llmjobs_pool_requests_running{{{POOL}}}": running,
    }


def ended(failed: str, succeeded: str) -> dict[str, str]:
    labels = f'{POOL}, class="batch"'
    name = "llmjobs_jobs_ended_total"
    return {
        f'{name}{{{labels}, state="Failed", reason="RequestFailed"}}': failed,
        f'{name}{{{labels}, state="Succeeded", reason="Succeeded"}}': succeeded,
    }


def requests(failed: str, succeeded: str) -> dict[str, str]:
    name = "llmjobs_requests_ended_total"
    return {
        f'{name}{{{POOL}, outcome="failed"}}': failed,
        f'{name}{{{POOL}, outcome="succeeded"}}': succeeded,
    }


def answered(bad: str, good: str) -> dict[str, str]:
    name = 'llmjobs_gateway_requests_total{namespace="b", route="/jobs", method="POST", status='
    return {f'{name}"503"}}': bad, f'{name}"202"}}': good}


def first_token(below: str, every: str) -> dict[str, str]:
    name = f"llmjobs_worker_engine_first_token_seconds_bucket{{{POOL}, le="
    return {f'{name}"30.0"}}': below, f'{name}"60.0"}}': every, f'{name}"+Inf"}}': every}


def replicas(desired: int, most: int) -> dict[str, str]:
    name = f"llmjobs_pool_replicas{{{POOL}, kind="
    return {f'{name}"desired"}}': f"{desired}x120", f'{name}"max"}}': f"{most}x120"}


ERRORS = 'llmjobs_operator_reconcile_errors_total{kind="LLMWorkerPool", error="Refused"}'
HEARD = 'llmjobs_gateway_store_up{instance="g"}'
UP, LEADING = "llmjobs_store_up", 'llmjobs_operator_leading{instance="%s"}'
UP_IN, LEADING_IN = f'{UP}{{namespace="%s"}}', 'llmjobs_operator_leading{namespace="%s"}'
IN_B = (("namespace", "b"),)
GROWTH = "5+60x120"

CASES = [
    Case("BrokerDown", "when no exporter reads it", {UP: "1 0x9"}, "3m",
         "Redis can't be read by any exporter.", ()),
    Case("BrokerDown", "not in its first minute", {UP: "1x4 0x9"}, "5m"),
    Case("BrokerDown", "not while one exporter reads it",
         {f'{UP}{{instance="a"}}': "0x9", f'{UP}{{instance="b"}}': "1x9"}, "9m"),
    Case("BrokerDown", "in one of two installations", {UP_IN % "a": "1x9", UP_IN % "b": "0x9"},
         "9m", "Redis can't be read by any exporter in b.", IN_B),
    Case("StoreFull", "when it refuses writes",
         {'llmjobs_store_writable{namespace="b"}': "1 0x9"}, "3m",
         "Redis takes no new jobs in b: it is full, or its disk fails.", IN_B),
    Case("StoreFull", "not while it takes them", {"llmjobs_store_writable": "1x9"}, "9m"),
    Case("GatewayDown", "when none is scraped", {UP_IN % "b": "1x20"}, "9m",
         "No gateway is scraped in b.", IN_B),
    Case("GatewayDown", "not with one",
         {UP_IN % "b": "1x20", 'llmjobs_gateway_store_up{namespace="b", instance="x"}': "0x20"},
         "9m"),
    Case("GatewayErrors", "when one in ten is refused", answered("0+10x60", "0+90x60"), "30m",
         "10% of HTTP requests in b get a 5xx.", IN_B),
    Case("GatewayErrors", "not for one in a hundred", answered("0+10x60", "0+990x60"), "30m"),
    Case("GatewayErrors", "not for a few", answered("0x20 4x60", "0+1x60"), "24m"),
    Case("ExporterDown", "when none is scraped", {UP: "1 1 stale"}, "9m",
         "No exporter is scraped: nobody sees the queue.", ()),
    Case("ExporterDown", "where one of two installations has none",
         {UP_IN % "a": "1x20", LEADING_IN % "a": "1x20", LEADING_IN % "b": "1x20"}, "9m",
         "No exporter is scraped in b: nobody sees the queue.", IN_B),
    Case("ExporterDown", "not while Redis is down", {UP: "0x20"}, "15m"),
    Case("NoWorkersForBacklog", "when they stay away", queue("3x60", "0x60"), "15m",
         "Requests wait in a/p, and no worker lives.",
         description="3 requests wait. A large model may take minutes to load; after 10 of them "
         "something keeps its pods from starting."),
    Case("NoWorkersForBacklog", "not while a model loads", queue("3x60", "0x60"), "9m"),
    Case("NoWorkersForBacklog", "not for an idle pool at zero", queue("0x60", "0x60"), "30m"),
    Case("NoWorkersForBacklog", "not with a worker", queue("9x60", "8x60"), "30m"),
    Case("FailureRatioHigh", "when one in four fails", ended("0+1x60", "0+3x60"), "40m",
         "25% of the work of a/p fails."),
    Case("FailureRatioHigh", "when lines of batches fail that succeed",
         ended("0x60", "0+1x60") | requests("0+50x60", "0+50x60"), "40m",
         "50% of the work of a/p fails."),
    Case("FailureRatioHigh", "not at one in a hundred", ended("0+1x60", "0+99x60"), "40m"),
    Case("FailureRatioHigh", "not for a few", ended("0x30 1+1x3 4x20", "0x60"), "36m"),
    Case("OldestJobTooOld", "after half an hour and five minutes",
         {f"llmjobs_pool_oldest_queued_seconds{{{POOL}}}": "0+60x60"}, "40m",
         "A job of a/p has waited 40m 0s."),
    Case("OldestJobTooOld", "once, with two exporters",
         {f'llmjobs_pool_oldest_queued_seconds{{{POOL}, instance="{i}"}}': "0+60x60"
          for i in "xy"}, "40m", "A job of a/p has waited 40m 0s."),
    Case("OldestJobTooOld", "not while jobs keep starting",
         {f"llmjobs_pool_oldest_queued_seconds{{{POOL}}}": "1700x60"}, "50m"),
    Case("BacklogGrowing", "when it grows for an hour", queue(GROWTH, "8x120"), "90m",
         "The backlog of a/p grows by 1 a second."),
    Case("BacklogGrowing", "not while it shrinks", queue("9000-60x120", "8x120"), "90m"),
    Case("BacklogGrowing", "not for a few", queue("0+0.1x120", "8x120"), "90m"),
    Case("WorkersSaturated", "when all slots are busy and more waits",
         queue("5x120", "8x120", "8x120"), "40m", "100% of the slots of a/p are busy."),
    Case("WorkersSaturated", "not with a slot free", queue("5x120", "8x120", "7x120"), "40m"),
    Case("WorkersSaturated", "not when nothing waits", queue("0x120", "8x120", "8x120"), "40m"),
    Case("TTFTHigh", "when one in ten takes longer", first_token("0+9x60", "0+10x60"), "40m",
         "Engines of a/p take 45s to a token."),
    Case("TTFTHigh", "not when one in a hundred does", first_token("0+99x60", "0+100x60"), "40m"),
    Case("PoolAtMax", "when it can't grow and more waits",
         {**replicas(4, 4), **queue("50x120", "32x120")}, "40m",
         "a/p has all of its 4 replicas and needs more."),
    Case("PoolAtMax", "not with room to grow",
         {**replicas(3, 4), **queue("50x120", "32x120")}, "40m"),
    Case("PoolAtMax", "not when the queue is short",
         {**replicas(4, 4), **queue("3x120", "32x120")}, "40m"),
    Case("ScalerErrors", "when they go on", {ERRORS: "0+1x60"}, "30m",
         "The operator fails to bring pools in line: Refused.", (("error", "Refused"),),
         "10 attempts within 10 minutes failed."),
    Case("ScalerErrors", "not for one that passed", {ERRORS: "0x5 3x60"}, "30m"),
    Case("ScalerErrors", "not once all is well again", {ERRORS: "0x5 10x60"}, "13m"),
    Case("NoLeader", "when two stand by",
         {UP: "1x20", LEADING % "a": "0x20", LEADING % "b": "0x20"}, "9m",
         "No operator leads, or none is scraped.", ()),
    Case("NoLeader", "when there is none", {UP: "0x20"}, "9m",
         "No operator leads, or none is scraped.", ()),
    Case("NoLeader", "in one of two installations",
         {UP_IN % "a": "1x20", UP_IN % "b": "1x20", LEADING_IN % "a": "1x20",
          LEADING_IN % "b": "0x20"}, "9m", "No operator leads in b, or none is scraped.", IN_B),
    Case("NoLeader", "not while one of two leads",
         {UP: "1x20", LEADING % "a": "0x20", LEADING % "b": "1x20"}, "9m"),
    Case("NoLeader", "not during a hand-over", {UP: "1x20", LEADING % "a": "1 0 1x20"}, "2m"),
    Case("NoLeader", "not without any metric of ours", {"up": "1x20"}, "9m"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_alert_fires_when_it_should_and_only_then(case: Case, tmp_path: Path) -> None:
    rule = BY_NAME[f"LLMJobs{case.alert}"]
    texts = {"summary": case.summary, "description": case.description or None}
    wanted = {
        "exp_labels": {**rule["labels"], **dict(case.labels)},
        "exp_annotations": {
            name: texts.get(name) or text for name, text in rule["annotations"].items()
        },
    }
    run_suite(tmp_path, case.series, case.at, {rule["alert"]: [wanted] if case.summary else []})


def run_suite(
    folder: Path, series: dict[str, str], at: str, wanted: dict[str, list[dict[str, Any]]]
) -> None:
    """Let promtool see whether exactly these alerts, by name, are there at a time."""
    suite = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": s, "values": v} for s, v in series.items()],
                "alert_rule_test": [
                    {"eval_time": at, "alertname": name, "exp_alerts": alerts}
                    for name, alerts in wanted.items()
                ],
            }
        ],
    }
    path = folder / "suite.yaml"
    path.write_text(json.dumps(suite))
    run_promtool("test", "rules", str(path))


@pytest.mark.parametrize(
    ("series", "one"),
    [
        ({UP: "0x120", HEARD: "0x120", LEADING % "a": "1x120"}, "LLMJobsBrokerDown"),
        ({LEADING % "a": "1x120"}, "LLMJobsExporterDown"),
        ({"up": "1x120"}, "LLMJobsExporterDown"),
    ],
    ids=["Redis is away", "no exporter", "nothing of ours"],
)
def test_what_is_not_known_fires_nothing_but_the_alert_that_says_so(
    series: dict[str, str], one: str, tmp_path: Path
) -> None:
    run_suite(tmp_path, series, "110m", {name: [] for name in BY_NAME if name != one})


def test_what_is_absent_raises_no_alert_about_queues(tmp_path: Path) -> None:
    """While Redis is away the store's metrics are absent: unknown is not zero."""
    about_queues = {alert.full_name for alert in ALERTS} - {"LLMJobsBrokerDown"}
    suite = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": UP, "values": "0x120"},
                    {"series": HEARD, "values": "0x120"},
                    {"series": LEADING % "a", "values": "1x120"},
                ],
                "alert_rule_test": [
                    {"eval_time": "110m", "alertname": name, "exp_alerts": []}
                    for name in sorted(about_queues)
                ],
            }
        ],
    }
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(suite))
    run_promtool("test", "rules", str(path))


def test_every_alert_is_seen_to_fire_and_not_to_fire() -> None:
    fires = {case.alert for case in CASES if case.summary}
    keeps_quiet = {case.alert for case in CASES if not case.summary}
    assert fires == keeps_quiet == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("factor", [1.0, 0.01])
def test_promtool_accepts_the_rules(tmp_path: Path, factor: float) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(render_rules(Times(factor)))
    run_promtool("check", "rules", str(path))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda one: one.name)
def test_an_alert_is_about_metrics_that_exist(alert: Alert) -> None:
    assert promql.list_series(alert.build(Times())) <= list_series()
