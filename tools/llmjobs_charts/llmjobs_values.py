"""All values of charts/llmjobs."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmjobs_charts.common import (
    Image,
    LocalReference,
    Name,
    Open,
    Port,
    PulledImage,
    Seconds,
    Texts,
    Values,
)
from llmjobs_charts.components import Exporter, Flower, Gateway, Operator, Valkey
from llmjobs_core.logs import LogFormat
from llmjobs_monitoring.rules import RUNBOOK_BASE_URL


class CRDs(Values):
    """The custom resource definitions."""

    install: bool = Field(default=True, description="Install and upgrade them with the release.")
    keep: bool = Field(
        default=True,
        description="Leave them, and so every LLMJob and pool, when the release is uninstalled.",
    )
    annotations: Texts = Field(default_factory=dict, description="More annotations for them.")


class WorkerDefaults(Values):
    """What each pool's pods run unless the pool says otherwise."""

    image: Image = Field(
        default=Image(repository="llmjobs-worker"), description="The worker's image."
    )


class ExternalRedis(Values):
    """A Redis 7+ or Valkey 8+ of yours, with AOF on and `maxmemory-policy noeviction`."""

    url: str = Field(
        default="",
        description="`redis://USER:PASSWORD@HOST:6379/0`, or `rediss://` for TLS. It is put into a "
        "Secret, and into the release's own values: prefer `existingSecret`.",
    )
    existing_secret: Name = Field(
        default="",
        description="A Secret that holds the URL; wins over `url`. Workers read it too, so it must "
        "be there in every namespace with an LLMWorkerPool.",
    )
    secret_key: str = Field(default="url", description="Its key.")
    ca_secret: Name = Field(
        default="",
        description="A Secret with the certificate of the CA that signed the server's, mounted at "
        "`/etc/llmjobs/redis`. The URL names it: `rediss://…?ssl_ca_certs=/etc/llmjobs/redis/ca.crt`"
        ".",
    )


class Redis(Values):
    """The store."""

    external: ExternalRedis = Field(
        default_factory=ExternalRedis, description="A server of yours; or see `valkey`."
    )
    prefix: Annotated[str, Field(max_length=64)] = Field(
        default="llmjobs:", description="In front of every key."
    )


class RBAC(Values):
    """Rights."""

    create: bool = Field(default=True, description="Make roles and bindings.")
    namespaced: bool = Field(
        default=False,
        description="Make no object outside namespaces: Roles in `watchNamespaces`, or in the "
        "release's namespace alone.",
    )
    aggregate: bool = Field(
        default=True,
        description="Let Kubernetes' own view, edit and admin roles take in LLMJobs and pools.",
    )
    auth_delegator_exists: bool = Field(
        default=False,
        description="For `namespaced` with `gateway.auth: kubernetes`: somebody else lets the "
        "gateway's account ask the API server about tokens (`system:auth-delegator`).",
    )


class MetricSelector(Values):
    """How Prometheus reads what a monitor selects."""

    enabled: bool = Field(
        default=True, description="Make it, where the cluster has Prometheus operator's CRDs."
    )
    interval: str = Field(default="15s", description="How often.")
    scrape_timeout: str = Field(default="10s", description="How long one reading may take.")
    labels: Texts = Field(
        default_factory=dict, description="Labels by which your Prometheus selects it."
    )
    relabelings: list[Open] = Field(default_factory=list, description="Relabelings of targets.")
    metric_relabelings: list[Open] = Field(
        default_factory=list, description="Relabelings of samples."
    )


class PodSelector(MetricSelector):
    """How Prometheus reads pods without a Service."""

    engines: bool = Field(
        default=True, description="Read vLLM beside each worker, too (its port `engine`)."
    )


class Rules(Values):
    """Alerts."""

    enabled: bool = Field(
        default=True, description="Make it, where the cluster has Prometheus operator's CRDs."
    )
    labels: Texts = Field(
        default_factory=dict, description="Labels by which your Prometheus selects it."
    )
    runbook_url: str = Field(
        default=RUNBOOK_BASE_URL,
        description="Where you publish docs/runbooks; alerts link to their pages below it.",
    )
    disabled: list[str] = Field(
        default_factory=list,
        description="Alerts to leave out, by name; `extraObjects` may hold your own instead.",
    )


class Dashboards(Values):
    """Grafana dashboards as ConfigMaps."""

    enabled: bool = Field(default=True, description="Make one for each dashboard.")
    labels: Texts = Field(
        default={"grafana_dashboard": "1"}, description="Labels that Grafana's sidecar looks for."
    )
    annotations: Texts = Field(
        default={"grafana_folder": "llmjobs"}, description="Annotations: the folder, for one."
    )


class Monitoring(Values):
    """Metrics, alerts and dashboards."""

    service_monitor: MetricSelector = Field(
        default_factory=MetricSelector, description="For gateway and exporter."
    )
    pod_monitor: PodSelector = Field(
        default_factory=PodSelector, description="For operator, workers and vLLM."
    )
    prometheus_rule: Rules = Field(default_factory=Rules, description="The alerts.")
    dashboards: Dashboards = Field(default_factory=Dashboards, description="The dashboards.")
    scrape_annotations: bool = Field(
        default=False, description="Put `prometheus.io/scrape` and `port` on our pods instead."
    )


class Reach(Values):
    """Where something outside is."""

    cidrs: list[str] = Field(default_factory=list, description="Networks; everywhere if empty.")
    ports: list[Port] = Field(default=[443, 6443], description="TCP ports.")


class NetworkPolicy(Values):
    """What may talk to what."""

    enabled: bool = Field(
        default=True, description="Make them. They work where the network plugin heeds them."
    )
    gateway_from: list[Open] = Field(
        default_factory=list,
        description="Peers that may call the gateway; all when empty. Where it is set, "
        "`metricsFrom` must name Prometheus, which reads the gateway's metrics at the same port.",
    )
    metrics_from: list[Open] = Field(
        default_factory=list, description="Peers that may read metrics; all when empty."
    )
    dns_ports: list[Port] = Field(
        default=[53, 5353],
        min_length=1,
        description="Ports of the cluster's DNS pods, not of their Service (OpenShift's: 5353).",
    )
    api_server: Reach = Field(default_factory=Reach, description="Where the API server is.")
    redis: Reach = Field(
        default=Reach(ports=[6379, 6380]), description="Where `redis.external` is."
    )


class DisruptionBudget(Values):
    """How many of our pods an eviction may take at once."""

    enabled: bool = Field(
        default=True, description="Make one for each part with more than one replica."
    )
    max_unavailable: Annotated[int, Field(ge=1)] = Field(
        default=1, description="Pods that may be gone at once."
    )


class Tests(Values):
    """`helm test`."""

    enabled: bool = Field(default=True, description="Have its pods and their rights at hand.")
    pool: Name = Field(
        default="",
        description="A pool of the release's namespace that runs one small job through each door; "
        "without it, only the gateway's health is asked.",
    )
    timeout_seconds: Seconds = Field(
        default=300, description="How long a job may take, the start of an engine included."
    )


class LogLevel(StrEnum):
    """Which events are logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LLMJobsValues(Values):
    """Values of charts/llmjobs."""

    redis: Redis = Field(default_factory=Redis, description="The store.")
    valkey: Valkey = Field(default_factory=Valkey, description="One Valkey, to begin with.")
    image: PulledImage = Field(
        default_factory=PulledImage, description="Image of operator, gateway and exporter."
    )
    image_pull_secrets: list[LocalReference] = Field(
        default_factory=list, description="`name` of Secrets for the registry."
    )
    worker: WorkerDefaults = Field(
        default_factory=WorkerDefaults,
        description="What each pool's pods run unless the pool says otherwise.",
    )
    crds: CRDs = Field(default_factory=CRDs, description="The custom resource definitions.")
    watch_namespaces: list[Annotated[str, Field(min_length=1, max_length=63)]] = Field(
        default_factory=list,
        description="Namespaces whose LLMJobs and pools are looked after; all when empty. With "
        "names, the rights are Roles there.",
    )
    rbac: RBAC = Field(default_factory=RBAC, description="Rights.")
    operator: Operator = Field(default_factory=Operator, description="LLMJobs and pools.")
    gateway: Gateway = Field(default_factory=Gateway, description="The HTTP door.")
    exporter: Exporter = Field(default_factory=Exporter, description="The store's metrics.")
    flower: Flower = Field(default_factory=Flower, description="Celery's own console.")
    monitoring: Monitoring = Field(
        default_factory=Monitoring, description="Metrics, alerts and dashboards."
    )
    network_policy: NetworkPolicy = Field(
        default_factory=NetworkPolicy, description="What may talk to what."
    )
    pod_disruption_budget: DisruptionBudget = Field(
        default_factory=DisruptionBudget, description="What an eviction may take."
    )
    tests: Tests = Field(default_factory=Tests, description="`helm test`.")
    log_format: LogFormat = Field(default=LogFormat.JSON, description="How a log line looks.")
    log_level: LogLevel = Field(default=LogLevel.INFO, description="Which events are logged.")
    name_override: Name = Field(default="", description="Instead of the chart's name in labels.")
    full_name_override: Annotated[str, Field(max_length=40, alias="fullnameOverride")] = Field(
        default="", description="Instead of the release's name in front of every object's."
    )
    common_labels: Texts = Field(default_factory=dict, description="More labels on everything.")
    extra_objects: list[Open | str] = Field(
        default_factory=list,
        description="More objects to install; text and objects may hold templates.",
    )
    global_: Open = Field(
        default_factory=dict, alias="global", description="Set by a chart around this one."
    )
