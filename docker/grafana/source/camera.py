"""One camera: what became of it and of its frames."""

from grafana_foundation_sdk.builders.statetimeline import Panel as StateTimeline
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model

from parts import (
    BLUE, CAMERA, GREEN, GREY, ORANGE, RED, YELLOW,
    choice, curves, dashboard, link, number, per_second, quantile, steps, with_queries,
)

AGE = "centerx_age_at_publish_seconds"
# By the numbers that the timeline shows them with.
STATES = {"live": GREEN, "connecting": BLUE, "stalled": ORANGE, "backoff": YELLOW, "failed": RED, "disabled": GREY,
          "ended": "purple"}


def timeline():
    """The camera's states over time."""
    states = " + ".join(
        f'{place} * sum(centerx_camera_state{{{CAMERA}, state="{state}"}})'
        for place, state in enumerate(STATES, start=1)
    )
    names = {
        str(place): model.ValueMappingResult(text=state, color=colour, index=place)
        for place, (state, colour) in enumerate(STATES.items(), start=1)
    }
    panel = (
        StateTimeline()
        .title("State")
        .description("live: frames arrive. connecting: no frame yet. stalled: frames stopped. backoff: waiting to retry "
                     "what may pass by itself. failed: waiting to retry what a person probably has to mend; the page and "
                     "GetCamera say what. disabled: kept, not connected. ended: a file was played to its end.")
        .height(5)
        .span(24)
        .mappings([model.ValueMap(options=names)])
        .merge_values(True)
        .show_value(common.VisibilityMode.AUTO)
    )
    return with_queries(panel, [("$camera", states)])


def now():
    """One line of figures."""
    wanted = f'{CAMERA}, reason!~"rate_limited|camera_removed|shutdown"'
    dropped = (
        f"{per_second('centerx_frames_dropped_total', wanted)}"
        f" / ({per_second('centerx_frames_received_total', CAMERA)} > 0)"
    )
    return [
        number("Frames received", "Frames a second that its decoder delivered.", "cps",
               per_second("centerx_frames_received_total", CAMERA), steps((None, BLUE))),
        number("Frames published", "Frames a second whose detections went out.", "cps",
               per_second("centerx_frames_published_total", CAMERA), steps((None, BLUE))),
        number("Last published", "Time since its last frame was published. It should stay under a second or two.", "s",
               f"time() - max(centerx_camera_published_timestamp_seconds{{{CAMERA}}})",
               steps((None, GREEN), (10, YELLOW), (60, RED)), 1),
        number("Age, 95 %", "95 of 100 of its frames are younger when their detections go out.", "s",
               quantile(0.95, AGE, CAMERA), steps((None, GREEN), (0.2, YELLOW), (0.5, RED))),
        number("Frames dropped", "Share of its frames that were dropped although they were wanted.", "percentunit",
               dropped, steps((None, GREEN), (0.01, YELLOW), (0.05, RED)), 2),
        number("In this state for", "Time since its state last changed.", "s",
               f"time() - max(centerx_camera_state_since_seconds{{{CAMERA}}})", steps((None, BLUE)), 0),
        number("Went live in a day", "How often it went live within 24 hours. Once is well; many times is a loose "
               "cable.", "short", f"sum(increase(centerx_camera_connects_total{{{CAMERA}}}[24h]))",
               steps((None, GREEN), (4, YELLOW), (20, RED)), 0),
        number("Objects", "Objects a second that were found in its frames.", "cps",
               per_second("centerx_camera_detections_total", CAMERA), steps((None, BLUE))),
    ]


def frames():
    """What became of its frames."""
    received, decode = "centerx_frames_received_total", "centerx_camera_decode_seconds_total"
    limit = f"max(centerx_camera_max_age_seconds{{{CAMERA}}})"
    return [
        curves("Frames", "Frames a second: decoded, and published with their detections. Between the two lie drops, by "
               "reason at the right.", "cps",
               [("received", per_second(received, CAMERA)),
                ("published", per_second("centerx_frames_published_total", CAMERA))]),
        curves("Drops by reason", "rate_limited is meant (max_fps). superseded and too_old: the machine is at its limit, "
               "or the model takes longer than max_age. engine_*: the engine fails. no_model: its model is not served.",
               "cps", [("{{reason}}", per_second("centerx_frames_dropped_total", CAMERA, "reason"))], stacked=True),
        curves("Age at publication", "From a frame's arrival to the publication of its detections, and its max_age.", "s",
               [(f"{share:.0%}", quantile(share, AGE, CAMERA)) for share in (0.5, 0.95, 0.99)]
               + [("max_age", limit)]),
        curves("Reconnects", "Attempts to connect anew, by what went wrong before: network is its cable or power, auth "
               "its password, codec its video settings, stalled its load.", "short",
               [("{{reason}}", f"sum by (reason) (increase(centerx_camera_reconnects_total{{{CAMERA}}}[5m]))")],
               stacked=True),
        curves("Decode time", "The mean time from a coded frame to its picture. It grows with the picture's size, and when "
               "the processor is busy.", "s",
               [("a frame", f"{per_second(decode, CAMERA)} / ({per_second(received, CAMERA)} > 0)")]),
        curves("Under way and skipped", "Frames between decoder and publication, and coded frames a second that were "
               "skipped before the decoder because it could not keep up.", "short",
               [("under way", f"sum(centerx_frames_in_flight{{{CAMERA}}})"),
                ("skipped a second", per_second("centerx_coded_frames_skipped_total", CAMERA))]),
        curves("Objects", "Objects a second that were found in its frames. A camera that is live and finds nothing for "
               "hours may be dirty, dark or turned away.", "cps",
               [("objects", per_second("centerx_camera_detections_total", CAMERA))], span=24),
    ]


def camera():
    """All of it."""
    cameras = 'label_values(centerx_camera_state{instance=~"$instance"}, camera)'
    made = dashboard("centerx-camera", "centerx: one camera", "What became of one camera and of its frames.",
                     many_servers=False)
    made = made.with_variable(choice("camera", "Camera", cameras, many=False))
    made = made.link(link("Overview", "/d/centerx-overview", "All cameras, models and the machine"))
    for panel in [timeline(), *now(), *frames()]:
        made = made.with_panel(panel)
    return made
