"""What the deletion of this worker's pod would cost, told to Kubernetes: a scale-down takes the cheapest first.

The annotation is described at
https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#pod-deletion-cost
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import quote

from manyhands import logs
from manyhands.errors import SettingsError

_log = logs.get(__name__)

ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
#: Where Kubernetes puts a pod's token and the API server's certificate authority.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: Seconds between two updates: a scale-down looks at costs of the moment, and the API server has others to serve.
EVERY = 10.0
#: Seconds that one request may take.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod, and the way to the API server that knows it; ``token`` is read for each request, since it is renewed."""

    name: str
    namespace: str
    token: Path
    connect: Callable[[], HTTPConnection]

    def annotate(self, name: str, value: str) -> None:
        """Set an annotation of the pod.

        Raises:
            OSError, HTTPException, ssl.SSLError: the API server, or the token, is out of reach.
            PermissionError: the API server said no.
        """
        body = json.dumps({"metadata": {"annotations": {name: value}}})
        headers = {
            "Authorization": f"Bearer {self.token.read_text(encoding='utf-8').strip()}",
            "Content-Type": "application/merge-patch+json",
            "Accept": "application/json",
        }
        connection = self.connect()
        try:
            connection.request("PATCH", self._path, body, headers)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise PermissionError(f"the API server said {answer.status} {answer.reason}")

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{quote(self.namespace)}/pods/{quote(self.name)}"


def this_pod(environment: Mapping[str, str], account: Path = ACCOUNT) -> Pod:
    """The pod that the process runs in.

    Raises:
        SettingsError: the environment does not tell it, or it has no certificate authority.
    """
    names = ("POD_NAME", "POD_NAMESPACE", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
    missing = [name for name in names if not environment.get(name)]
    if missing:
        raise SettingsError(
            f"MANYHANDS_DELETION_COST needs {', '.join(missing)}: see deploy/k8s/components/deletion-cost"
        )
    pod, namespace, host, port = (environment[name] for name in names)
    try:
        context = ssl.create_default_context(cafile=account / "ca.crt")
    except OSError as error:
        raise SettingsError(f"MANYHANDS_DELETION_COST: cannot read {account / 'ca.crt'}: {error.strerror}") from None
    return Pod(
        name=pod,
        namespace=namespace,
        token=account / "token",
        connect=lambda: HTTPSConnection(host, int(port), timeout=PATIENCE, context=context),
    )


class DeletionCost:
    """Tells the cost on a thread of its own when it has changed. What goes wrong is logged once and tried again."""

    def __init__(self, pod: Pod, cost: Callable[[], int], *, every: float = EVERY) -> None:
        self._pod, self._cost, self._every = pod, cost, every
        self._told: int | None = None  # what the pod says is not known: its container may have been restarted
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deletion cost", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """Tell no more; does not wait for a request under way, which harms nobody."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            cost = self._cost()
            if cost != self._told:
                self._tell(cost)
            self._stop.wait(self._every)

    def _tell(self, cost: int) -> None:
        try:
            self._pod.annotate(ANNOTATION, str(cost))
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a token that is no header
            if not self._failing:
                _log.warning("the deletion cost cannot be told; scale-down takes any worker", error=str(error))
            self._failing = True
        else:
            self._told, self._failing = cost, False
