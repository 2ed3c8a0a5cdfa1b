"""Values of the parts that charts/llmjobs runs: operator, gateway, exporter, Flower, Valkey."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from llmjobs_charts.common import (
    Component,
    Name,
    Open,
    Placement,
    Port,
    PulledImage,
    ResourceAmounts,
    Seconds,
    ServiceAccount,
    Texts,
    Values,
)

Replicas = Annotated[int, Field(ge=0, le=1000)]


class Operator(Component):
    """The operator: one leads, others stand by."""

    replicas: Annotated[int, Field(ge=0, le=5)] = Field(
        default=2, description="Pods. One leads, by a Lease; another takes over within 15 s."
    )
    service_account: ServiceAccount = Field(
        default_factory=ServiceAccount, description="The account the operator runs as."
    )
    resources: ResourceAmounts = Field(
        default=ResourceAmounts(
            requests={"cpu": "100m", "memory": "192Mi"}, limits={"memory": "512Mi"}
        ),
        description="What the container asks for and may use.",
    )


class Auth(StrEnum):
    """How the gateway knows its callers."""

    KUBERNETES = "kubernetes"
    APIKEYS = "apikeys"
    NONE = "none"


class ServiceType(StrEnum):
    """Kinds of Service."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"


class GatewayService(Values):
    """The Service before the gateways."""

    type: ServiceType = Field(default=ServiceType.CLUSTER_IP, description="Kind of Service.")
    port: Port = Field(default=80, description="Its port.")
    annotations: Texts = Field(default_factory=dict, description="Annotations for it.")


class Autoscaling(Values):
    """A HorizontalPodAutoscaler for the gateways."""

    enabled: bool = Field(
        default=False, description="Make one. `gateway.replicas` is then left out."
    )
    min_replicas: Annotated[int, Field(ge=1)] = Field(default=2, description="Never fewer.")
    max_replicas: Annotated[int, Field(ge=1)] = Field(default=10, description="Never more.")
    target_cpu_percent: Annotated[int, Field(ge=1, le=1000, alias="targetCPUPercent")] = Field(
        default=70, description="Wanted use of the requested CPU, in percent."
    )
    metrics: list[Open] = Field(
        default_factory=list, description="More metrics, as in `autoscaling/v2`."
    )


class IngressPath(Values):
    """One path of a host."""

    path: str = "/"
    path_type: str = "Prefix"


class IngressHost(Values):
    """One host name of an Ingress."""

    host: str = ""
    paths: list[IngressPath] = Field(default_factory=lambda: [IngressPath()])


class IngressTLS(Values):
    """A certificate for hosts."""

    secret_name: Name
    hosts: list[str] = Field(default_factory=list)


class Ingress(Values):
    """An Ingress before the gateways."""

    enabled: bool = Field(default=False, description="Make one.")
    class_name: Name = Field(default="", description="The IngressClass; the default one if empty.")
    annotations: Texts = Field(
        default={
            "nginx.ingress.kubernetes.io/proxy-body-size": "200m",
            "nginx.ingress.kubernetes.io/proxy-buffering": "off",
            "nginx.ingress.kubernetes.io/proxy-http-version": "1.1",
            "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
            "nginx.ingress.kubernetes.io/proxy-send-timeout": "3600",
        },
        description="Annotations. Those of ingress-nginx by default: event streams must be neither "
        "buffered nor cut (a silent one has a comment every 15 s), and batches may be large. Other "
        "controllers have their own.",
    )
    hosts: list[IngressHost] = Field(
        default_factory=list, description="`host`, and `paths` of `path` and `pathType`."
    )
    tls: list[IngressTLS] = Field(
        default_factory=list, description="`secretName` and `hosts` of certificates."
    )


class RouteTimeouts(Values):
    """How long a gateway of the Gateway API waits."""

    request: str = Field(default="0s", description="For the whole answer; `0s` is for ever.")
    backend_request: str = Field(default="0s", description="For our answer; `0s` is for ever.")


class HTTPRoute(Values):
    """A route of the Gateway API to the gateways."""

    enabled: bool = Field(default=False, description="Make one.")
    annotations: Texts = Field(default_factory=dict, description="Annotations for it.")
    parent_refs: list[Open] = Field(
        default_factory=list, description="Gateways it belongs to, as in an HTTPRoute; needed."
    )
    hostnames: list[str] = Field(default_factory=list, description="Host names; all when empty.")
    timeouts: RouteTimeouts = Field(
        default_factory=RouteTimeouts, description="Event streams last as long as their jobs."
    )


class Gateway(Component):
    """The HTTP door."""

    replicas: Replicas = Field(default=2, description="Pods, without `autoscaling`.")
    auth: Auth = Field(
        default=Auth.KUBERNETES,
        description="`kubernetes`: bearer tokens, by TokenReview and SubjectAccessReview. "
        "`apikeys`: hashed keys in a Secret. `none`: everybody who reaches it; also set "
        "`allowAnonymous`.",
    )
    allow_anonymous: bool = Field(
        default=False, description="Says in so many words that `auth: none` is meant."
    )
    api_keys_secret: Name = Field(
        default="", description="A Secret with the key `keys.json`, for `auth: apikeys`."
    )
    token_audiences: list[str] = Field(
        default_factory=list,
        description="Audiences a token must be for; the API server's own when empty.",
    )
    default_namespace: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        default="default",
        description="Where jobs go when neither the request nor the caller names a namespace.",
    )
    durable_jobs: bool = Field(
        default=True,
        description="Take HTTP jobs with `durable: true`: each is kept as an LLMJob too, and is "
        "run even if Redis loses everything. Also lets HTTP clients suspend, resume and change "
        "jobs of LLMJobs. The gateway then may create, get and patch llmjobs; with "
        "`auth: kubernetes` callers still need RBAC's leave.",
    )
    shutdown_grace_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=20, description="How long requests may take to end; streams end at once."
    )
    pre_stop_seconds: Annotated[int, Field(ge=0, le=300)] = Field(
        default=5,
        description="A pod that ends still serves for so long, while load balancers learn of it.",
    )
    service_account: ServiceAccount = Field(
        default_factory=ServiceAccount, description="The account the gateway runs as."
    )
    service: GatewayService = Field(
        default_factory=GatewayService, description="The Service before the gateways."
    )
    autoscaling: Autoscaling = Field(
        default_factory=Autoscaling, description="A HorizontalPodAutoscaler."
    )
    ingress: Ingress = Field(default_factory=Ingress, description="An Ingress.")
    http_route: HTTPRoute = Field(
        default_factory=HTTPRoute,
        description="A route of the Gateway API, 1.2 or later.",
    )
    resources: ResourceAmounts = Field(
        default=ResourceAmounts(
            requests={"cpu": "100m", "memory": "160Mi"}, limits={"memory": "512Mi"}
        ),
        description="What the container asks for and may use.",
    )


class Exporter(Component):
    """The exporter of the store's metrics."""

    replicas: Replicas = Field(
        default=1, description="Pods; each tells the same, so more only helps while one moves."
    )
    resources: ResourceAmounts = Field(
        default=ResourceAmounts(
            requests={"cpu": "20m", "memory": "96Mi"}, limits={"memory": "256Mi"}
        ),
        description="What the container asks for and may use.",
    )


class BasicAuth(Values):
    """Who may look."""

    existing_secret: Name = Field(
        default="",
        description="A Secret with users and passwords as `user:password,other:password`; needed.",
    )
    secret_key: str = Field(default="basicAuth", description="Its key.")


class Flower(Component):
    """Celery's own console."""

    enabled: bool = Field(default=False, description="Run it. It can revoke tasks.")
    image: PulledImage = Field(
        default=PulledImage(repository="docker.io/mher/flower", tag="2.0.1"),
        description="Flower's image.",
    )
    auth: BasicAuth = Field(default_factory=BasicAuth, description="Who may look: basic auth.")
    resources: ResourceAmounts = Field(
        default=ResourceAmounts(
            requests={"cpu": "20m", "memory": "128Mi"}, limits={"memory": "256Mi"}
        ),
        description="What the container asks for and may use.",
    )


class ValkeyAuth(Values):
    """The store's password."""

    existing_secret: Name = Field(
        default="",
        description="A Secret with `password`, and with `url` as "
        "`redis://:PASSWORD@RELEASE-valkey.NAMESPACE.svc:6379/0`. When empty one is made with a "
        "random password, and read again at each upgrade. Tools that render without a cluster "
        "(Argo CD, `helm template`) can't read it: name one there.",
    )


class ValkeyStorage(Values):
    """Where the append-only file lies."""

    enabled: bool = Field(
        default=True, description="Keep it on a volume; without, a new pod starts empty."
    )
    size: str = Field(default="8Gi", description="Size of the volume.")
    storage_class: Name = Field(default="", description="The default one when empty.")
    annotations: Texts = Field(default_factory=dict, description="Annotations for the claim.")


class Valkey(Placement):
    """One Valkey, to begin with."""

    enabled: bool = Field(
        default=False,
        description="Run it. One node, so a moment without a store whenever its pod moves; for "
        "more, run your own and name it in `redis.external`.",
    )
    image: PulledImage = Field(
        default=PulledImage(repository="docker.io/valkey/valkey", tag="9.1.1"),
        description="Valkey's image, 8 or later.",
    )
    auth: ValkeyAuth = Field(default_factory=ValkeyAuth, description="The store's password.")
    max_memory: str = Field(
        default="512mb",
        description="Full beyond this: submissions are refused, nothing is lost. Keep it at about "
        "half of the memory limit, for the rewrite of the append-only file.",
    )
    extra_config: str = Field(
        default="", description="More lines for valkey.conf. `maxmemory-policy` stays noeviction."
    )
    persistence: ValkeyStorage = Field(
        default_factory=ValkeyStorage, description="Where the append-only file lies."
    )
    termination_grace_period_seconds: Seconds = Field(
        default=60, description="How long it may take to write its file when it ends."
    )
    pod_labels: Texts = Field(default_factory=dict, description="More labels for the pod.")
    pod_annotations: Texts = Field(default_factory=dict, description="More annotations for it.")
    resources: ResourceAmounts = Field(
        default=ResourceAmounts(
            requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "1Gi"}
        ),
        description="What the container asks for and may use.",
    )
