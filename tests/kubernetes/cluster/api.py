"""The API server of the test cluster, for what runs in its node: JSON over one connection, as the administrator."""
import http.client
import json
import ssl


class ApiError(Exception):
    """The API server could not be asked, or refused."""


class Api:
    """One thread's. `server` is host:port; `pki` the folder with ca.crt, admin.crt and admin.key."""

    def __init__(self, server, pki):
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        host, port = server.rsplit(":", 1)
        self._connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=10)

    def _ask(self, method, path, body=None):
        """(status, answer); the connection is made again after it broke."""
        try:
            self._connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise ApiError(f"{method} {path}: {error}") from error

    def _expect(self, allowed, method, path, body=None):
        status, answer = self._ask(method, path, body)
        if status not in allowed:
            raise ApiError(f"{method} {path}: {status} {answer.get('message', '')}")
        return answer

    def items(self, path):
        return self._expect((200,), "GET", path)["items"]

    def create(self, path, item):
        """Makes it, unless there is one of its name."""
        self._expect((200, 201, 409), "POST", path, item)

    def delete(self, path):
        """Deletes it, if it is there."""
        self._expect((200, 202, 404), "DELETE", path)
