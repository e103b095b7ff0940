"""Files that are put into a container: a tar archive of them, and its way there."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterable

import requests
from docker import APIClient
from docker.errors import create_api_error_from_http_exception

from veo_shell.core.model import File


def archive(files: Iterable[File]) -> bytes:
    """Return a tar archive of files of root's, as they are to be from / on."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file in files:
            data = file.content.encode()
            entry = tarfile.TarInfo(file.target.lstrip("/"))
            entry.size, entry.mode, entry.mtime = len(data), file.mode, time.time()
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def put(client: APIClient, container_id: str, packed: bytes) -> None:
    """Unpack an archive in a container; a folder is not replaced by a file.

    The SDK's own `put_archive` does not say the latter.
    """
    url = f"{client.base_url}/v{client.api_version}/containers/{container_id}/archive"
    params = {"path": "/", "noOverwriteDirNonDir": "true"}
    response = client.put(url, params=params, data=packed)
    try:
        response.raise_for_status()
    except requests.HTTPError as exc:
        create_api_error_from_http_exception(exc)
