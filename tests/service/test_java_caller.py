"""Java's own HTTP client, which offers HTTP/2 with its first request, against a service on a real socket.

Java has no compiler here, so Python drives the client in a JVM, as it drives the simulators.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from py4j.java_gateway import JavaGateway

from tests.serving import STATE, says, served, service_app
from waymark.contracts import ActionResponse
from waymark.errors import JavaMissing
from waymark.inference.engines.scripted import ScriptedGenerator
from waymark.worlds.java_calls import connect, py4j_jar
from waymark.worlds.java_process import Jvm, find_java

OPTIONS = ["-Xmx64m", "-XX:+UseSerialGC", "--add-exports=java.net.http/jdk.internal.net.http=ALL-UNNAMED"]
"""The export lets py4j call the classes behind the client's interfaces."""


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JavaGateway]:
    try:
        jvm = Jvm(find_java(), OPTIONS, [py4j_jar()], str(tmp_path_factory.mktemp("java")), title="client's")
    except JavaMissing as error:
        pytest.skip(str(error))
    gateway = connect(jvm)
    try:
        yield gateway
    finally:
        gateway.shutdown()
        jvm.end()


def test_the_client_offers_http_2_and_is_answered(java: JavaGateway) -> None:
    http: Any = java.jvm.java.net.http
    client = http.HttpClient.newHttpClient()
    assert client.version().toString() == "HTTP_2"  # so it offers an upgrade, and its body must not get lost
    body = http.HttpRequest.BodyPublishers.ofString(json.dumps({"state": STATE}))
    with served(service_app("executor", default=ScriptedGenerator(says("look around")))) as url:
        for path, publisher, wanted in (("/v1/action", body, 200), ("/info", None, 200), ("/v1/action", body, 200)):
            builder = http.HttpRequest.newBuilder(java.jvm.java.net.URI.create(f"{url}{path}"))
            if publisher is not None:
                builder = builder.header("Content-Type", "application/json").POST(publisher)
            answer = client.send(builder.build(), http.HttpResponse.BodyHandlers.ofString())
            assert (answer.statusCode(), answer.version().toString()) == (wanted, "HTTP_1_1"), answer.body()
            if publisher is not None:
                assert ActionResponse.model_validate_json(answer.body()).action == "look around"
