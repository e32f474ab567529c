"""The first seconds of a video file."""

from __future__ import annotations

import io
from pathlib import Path

from rl_lab.errors import LabError
from rl_lab.watch.sinks.video import av


def read_video_excerpt(path: Path, seconds: float) -> bytes:
    """Return the first seconds of a video file as a file of the same format.

    The packets are copied without re-encoding them, up to the first packet at or after `seconds`. Without PyAV the
    whole file is returned.

    Raises:
        LabError: The file cannot be read, for example because it is still being written.
    """
    if not av:
        return path.read_bytes()
    excerpt = io.BytesIO()
    try:
        with av.open(str(path)) as source, av.open(excerpt, "w", format=path.suffix[1:]) as target:
            (source_stream,) = source.streams.video
            target_stream = target.add_stream_from_template(source_stream)
            for packet in source.demux(source_stream):
                is_end = packet.dts is None  # PyAV ends with an empty packet
                if is_end or packet.dts * packet.time_base >= seconds:
                    break
                packet.stream = target_stream
                target.mux(packet)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise LabError(f"the video {path} cannot be read: {error}") from error
    return excerpt.getvalue()
