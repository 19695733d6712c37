"""The four variants of `tritonclient` behind one blocking surface, so that one test drives them all.

Nothing is changed about what a variant sends: methods are looked up on the real client by name, and the two asyncio ones
run in a loop of their own.
"""

import asyncio
import inspect

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from tritonclient.utils import np_to_triton_dtype

VARIANTS = {"http": triton_http, "grpc": triton_grpc, "http.aio": triton_http_aio, "grpc.aio": triton_grpc_aio}


class TritonClient:
    def __init__(self, variant: str, server, **options):
        self.variant, self.module = variant, VARIANTS[variant]
        self.over_http = variant.startswith("http")
        address = server.http if self.over_http else server.grpc
        self.loop = asyncio.new_event_loop() if variant.endswith("aio") else None
        self.client = self._run(self._create(address, options)) if self.loop else self.module.InferenceServerClient(address, **options)

    async def _create(self, address, options):
        return self.module.InferenceServerClient(address, **options)

    def _run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def __getattr__(self, name):
        method = getattr(self.client, name)

        def call(*arguments, **options):
            result = method(*arguments, **options)
            return self._run(result) if inspect.isawaitable(result) else result

        return call

    def plain(self, name, *arguments, **options) -> dict | list:
        """Calls a method that describes something; gives plain values from every variant."""
        if not self.over_http:
            options["as_json"] = True
        return getattr(self, name)(*arguments, **options)

    def input(self, name: str, array: np.ndarray, datatype: str | None = None, **options):
        tensor = self.module.InferInput(name, list(array.shape), datatype or np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array, **options)
        return tensor

    def output(self, name: str, **options):
        return self.module.InferRequestedOutput(name, **options)

    def close(self):
        result = self.client.close()
        if self.loop:
            if inspect.isawaitable(result):
                self._run(result)
            self.loop.close()
