"""The no-op server of a peer: mosec, one Python worker behind its Rust front."""

from mosec import Server, Worker


class Noop(Worker):
    """Gives its input back."""

    def forward(self, data: object) -> object:
        """Answer one request."""
        return data


if __name__ == "__main__":
    server = Server()
    server.append_worker(Noop, num=1)
    server.run()
