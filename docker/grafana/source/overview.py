"""The overview: is every camera well, what is detected, how close to its limit is the machine?"""

from grafana_foundation_sdk.builders.dashboard import Row

from parts import (
    BLUE, GREEN, ORANGE, RED, SERVER, TROUBLE, YELLOW,
    curves, dashboard, link, mean, number, per_second, quantile, rows, steps, to_camera,
)

AGE = "centerx_age_at_publish_seconds"
MEANT = 'reason=~"rate_limited|camera_removed|shutdown"'
DROPS = f'{SERVER}, reason!~"rate_limited|camera_removed|shutdown"'
LOAD = f"centerx_load_frames_per_second{{{SERVER}}} / centerx_capacity_frames_per_second{{{SERVER}}}"


def now():
    """One line of figures: green is well."""
    dropped = (
        f"{per_second('centerx_frames_dropped_total', DROPS)}"
        f" / ({per_second('centerx_frames_received_total', SERVER)} > 0)"
    )
    firing = 'count(ALERTS{alertname=~"Centerx.+", alertstate="firing", instance=~"$instance"}) or vector(0)'
    return [
        number("Alerts firing", "Alerts of centerx that fire now. What each means and what to do: docs/alerts.md.",
               "short", firing, steps((None, GREEN), (1, RED)), 0),
        number("Cameras live", "Cameras whose frames arrive now.", "short",
               f'sum(centerx_camera_state{{{SERVER}, state="live"}})', steps((None, BLUE)), 0),
        number("Cameras in trouble", "Cameras that are wanted and bring no frames: connecting, stalled or waiting to "
               "retry. The table below names them.", "short",
               f"sum(centerx_camera_state{{{SERVER}, {TROUBLE}}})", steps((None, GREEN), (1, RED)), 0),
        number("Frames published", "Frames a second whose detections went out.", "cps",
               per_second("centerx_frames_published_total", SERVER), steps((None, BLUE))),
        number("Age, 95 %", "95 of 100 frames are younger than this when their detections go out, counted from their "
               "arrival. max_age is 200 ms unless set otherwise.", "s",
               quantile(0.95, AGE, SERVER), steps((None, GREEN), (0.2, YELLOW), (0.5, RED))),
        number("Frames dropped", "Share of the frames that were dropped although they were wanted. Over 1 % is an alert.",
               "percentunit", dropped, steps((None, GREEN), (0.01, YELLOW), (0.05, RED)), 2),
        number("Load of capacity", "What cameras ask of the busiest model, as a share of what it can look at. Over 100 % "
               "frames are dropped.", "percentunit",
               f"max({LOAD})", steps((None, GREEN), (0.8, YELLOW), (1, RED)), 0),
        number("Objects", "Objects a second that were found and published.", "cps",
               per_second("centerx_detections_total", SERVER), steps((None, BLUE))),
    ]


def frames():
    """The way of frames through the server."""
    received, published = "centerx_frames_received_total", "centerx_frames_published_total"
    every = "centerx_frames_dropped_total"
    return [
        curves("Throughput", "Frames a second of all cameras: decoded, published with their detections, and dropped for "
               "any reason. Received is always published plus dropped plus what is under way.", "cps",
               [("received", per_second(received, SERVER)), ("published", per_second(published, SERVER)),
                ("dropped", per_second(every, SERVER))]),
        curves("Drops by reason", "rate_limited is meant (max_fps). superseded and too_old: the machine is at its limit. "
               "engine_*: the engine fails, see the log. no_model: a camera names a model that is not served. lost: a "
               "fault in centerx, please report it.", "cps",
               [("{{reason}}", per_second(every, SERVER, "reason"))], stacked=True),
        curves("Age at publication", "From a frame's arrival to the publication of its detections: half of the frames, "
               "95 and 99 of 100 are younger.", "s",
               [(f"{share:.0%}", quantile(share, AGE, SERVER)) for share in (0.5, 0.95, 0.99)],
               colours=steps((None, GREEN), (0.2, ORANGE))),
    ]


def cameras():
    """How the cameras are."""
    down = f"(centerx_camera_state{{{SERVER}, {TROUBLE}}} == 1)"
    since = f"(time() - centerx_camera_state_since_seconds{{{SERVER}}}) and on (instance, camera) {down}"
    retries = f"sum by (instance, camera) (increase(centerx_camera_reconnects_total{{{SERVER}}}[1h]))"
    share = (
        f"topk(10, {per_second('centerx_frames_dropped_total', DROPS, 'instance, camera')}"
        f" / ({per_second('centerx_frames_received_total', SERVER, 'instance, camera')} > 0))"
    )
    place = {"instance": ("Server", None), "camera": ("Camera", None)}
    troubled = rows(
        "Cameras in trouble", "Cameras that are wanted and bring no frames, and for how long. Empty is well. The page and "
        "GetCamera give the reason in words. Click a camera for its dashboard.",
        [("", f"max by (instance, camera, state) ({down})"), ("", f"max by (instance, camera) ({since})"),
         ("", f"{retries} and on (instance, camera) {down}")],
        place | {"state": ("State", None), "Value #A": ("Down", None), "Value #B": ("For", "s"),
                 "Value #C": ("Retries in an hour", "short")})
    dropping = rows(
        "Cameras that drop most", "The ten cameras that lose the largest share of their frames, as of now.",
        [("", share)], place | {"Value": ("Dropped", "percentunit")}, span=6)
    states = curves("Cameras by state", "How many cameras are in which state. All but live, disabled and ended is "
                    "trouble.", "short",
                    [("{{state}}", f"sum by (state) (centerx_camera_state{{{SERVER}}})")], span=6, stacked=True)
    reconnects = curves("Reconnects", "Attempts to connect anew, by what went wrong before. One line that rises for "
                        "many cameras at a time is the network or a password.", "short",
                        [("{{reason}}", f"sum by (reason) (increase(centerx_camera_reconnects_total{{{SERVER}}}[5m]))")],
                        span=12, stacked=True)
    objects = curves("Objects by class", "Objects a second that were published, the ten classes found most.", "cps",
                     [("{{label}}", f"topk(10, {per_second('centerx_detections_total', SERVER, 'label')})")], span=12,
                     stacked=True)
    return [to_camera(troubled), states, to_camera(dropping), reconnects, objects]


def engine():
    """The models, and where the time goes."""
    stages = ["decode", "queue", "preprocess", "infer", "publish"]
    return [
        curves("Load against capacity", "Frames a second that cameras ask of each model, and what it can look at. Where "
               "the load is over the capacity, frames are dropped as superseded.", "cps",
               [("asked of {{model}}", f"sum by (model) (centerx_load_frames_per_second{{{SERVER}}})"),
                ("{{model}} can do", f"sum by (model) (centerx_capacity_frames_per_second{{{SERVER}}})")]),
        curves("Time of the stages, 95 %", "95 of 100 frames (batches, for preprocess and infer) take less. queue that "
               "grows: too many cameras. infer that grows: the processor is busy with something else, or hot. decode: "
               "cameras with larger pictures.", "s",
               [(stage, quantile(0.95, f"centerx_{stage}_seconds", SERVER)) for stage in stages]),
        curves("Pictures a batch", "The mean. A CPU takes one at a time; a GPU is well used when it is near its preferred "
               "batch.", "short", [("pictures", mean("centerx_batch_size", SERVER))]),
        curves("Engine lanes", "Lanes at work and down, by model. Without any at work a model's cameras get no "
               "detections.", "short",
               [("{{model}} {{state}}", f"sum by (model, state) (centerx_model_lanes{{{SERVER}}})")]),
        curves("Engine trouble", "Lanes that had to be opened anew by cause, batches that failed, and lanes that hang "
               "now.", "short",
               [("restarts: {{cause}}", f"sum by (cause) (increase(centerx_engine_restarts_total{{{SERVER}}}[5m]))"),
                ("failed batches", f"sum(increase(centerx_engine_errors_total{{{SERVER}}}[5m]))"),
                ("hung lanes", f"sum(centerx_engine_hung_lanes{{{SERVER}}})")]),
        curves("Models", "Models that are served, and swaps that were asked for.", "short",
               [("models", f"sum(centerx_models{{{SERVER}}})"),
                ("swaps: {{outcome}}", f"sum by (outcome) (increase(centerx_model_swaps_total{{{SERVER}}}[5m]))")]),
    ]


def subscribers():
    """Who takes the detections."""
    return [
        curves("Subscribers", "Subscriptions and clients' own streams that are open, and connections by listener.",
               "short",
               [("subscriptions", f"sum(centerx_subscribers{{{SERVER}}})"),
                ("detect streams", f"sum(centerx_detect_streams{{{SERVER}}})"),
                ("connections: {{listener}}", f"sum by (listener) (centerx_connections_open{{{SERVER}}})")]),
        curves("Subscribers' lag", "Frames that still wait for a subscriber when it takes one: of 95 of 100 takes no "
               "more than this. The ring holds 64 unless set otherwise; when it is full, frames are missed.", "short",
               [("95 %", quantile(0.95, "centerx_subscriber_lag_frames", SERVER)),
                ("50 %", quantile(0.5, "centerx_subscriber_lag_frames", SERVER))]),
        curves("Frames missed by subscribers", "Frames a second that subscribers missed because they read too slowly, and "
               "subscriptions ended because they took nothing at all.", "short",
               [("missed a second", per_second("centerx_subscriber_dropped_frames_total", SERVER)),
                ("ended", f"sum(increase(centerx_subscribers_stalled_total{{{SERVER}}}[5m]))")]),
        curves("Calls that were refused", "Calls without a good token, and connections that were turned away, by reason. "
               "Many of unknown: somebody tries tokens.", "cps",
               [("token: {{reason}}", per_second("centerx_auth_failures_total", SERVER, "reason")),
                ("connection: {{reason}}", per_second("centerx_connections_refused_total", SERVER, "reason"))],
               stacked=True),
        curves("Kept for subscribers that come back", "Memory of the frames that are kept so that a subscriber can go on "
               "where it was.", "bytes", [("replay", f"sum(centerx_replay_bytes{{{SERVER}}})")]),
        curves("Live pictures", "Cameras that somebody watches live, and pictures a second that are encoded for them. Nobody "
               "watching costs nothing; ten who watch one camera cost one picture.", "short",
               [("viewers", f"sum(centerx_live_viewers{{{SERVER}}})"),
                ("pictures a second", per_second("centerx_live_pictures_total", SERVER)),
                ("failures a second", per_second("centerx_live_failures_total", SERVER))]),
    ]


def machine():
    """What the server takes of its machine."""
    left = f"centerx_tls_certificate_expiry_seconds{{{SERVER}}} - time()"
    return [
        curves("Processor", "Cores that each server uses, and cores that it may use. Decoding and inference share them.",
               "short",
               [("{{instance}} uses", f"rate(process_cpu_seconds_total{{{SERVER}}}[$__rate_interval])"),
                ("{{instance}} has", f"centerx_cpu_cores{{{SERVER}}}")]),
        curves("Memory", "Memory in use by each server. Flat is well, at any load; a curve that rises for hours is not.",
               "bytes", [("{{instance}}", f"process_resident_memory_bytes{{{SERVER}}}")]),
        curves("Data disk", "Share of the disk of data_dir that is free. Cameras and models that are added by API are kept "
               "there.", "percentunit",
               [("{{instance}}",
                 f"centerx_data_dir_free_bytes{{{SERVER}}} / (centerx_data_dir_size_bytes{{{SERVER}}} > 0)")],
               most=1, colours=steps((None, RED), (0.1, GREEN))),
        curves("Certificates", "Time until the certificates in use expire. Renew them in place; no restart is needed. "
               "Empty where nothing is encrypted.", "s",
               [("{{instance}} {{listener}}", left)], least=None,
               colours=steps((None, RED), (2 * 86400, ORANGE), (14 * 86400, GREEN))),
        curves("Running since", "Time since each server was started. A saw is a server that is started again and again.",
               "s", [("{{instance}}", f"time() - process_start_time_seconds{{{SERVER}}}")]),
        curves("Open files", "Files and connections that each server has open, as a share of what the system allows.",
               "percentunit",
               [("{{instance}}", f"process_open_fds{{{SERVER}}} / process_max_fds{{{SERVER}}}")], most=1),
    ]


def gpu():
    """GPUs, where there are."""
    return [
        curves("GPU: busy", "Part of the time in which each GPU computes. Empty without GPUs or without NVML.",
               "percentunit", [("{{instance}} GPU {{device}}", f"centerx_gpu_utilization_ratio{{{SERVER}}}")], span=6, most=1),
        curves("GPU: memory", "Memory of each GPU that is used, by any process, and free.", "bytes",
               [("{{instance}} GPU {{device}} {{kind}}", f"centerx_gpu_memory_bytes{{{SERVER}}}")], span=6, stacked=True),
        curves("GPU: time of the steps, 95 %", "95 of 100 runs take less for: copy_in, preprocess, compute, copy_out.", "s",
               [("{{step}}", "histogram_quantile(0.95, "
                 + per_second("centerx_gpu_step_seconds_bucket", SERVER, "le, step") + ")")], span=6),
        curves("GPU: errors", "Calls to a GPU that failed, by what can be done: sticky ones need a new context, which the "
               "server makes.", "short",
               [("{{kind}}", f"sum by (kind) (increase(centerx_gpu_errors_total{{{SERVER}}}[5m]))")], span=6),
    ]


def overview():
    """All of it."""
    made = dashboard("centerx-overview", "centerx: overview", "Is every camera well, what is detected, and how close to "
                     "its limit is the machine?", many_servers=True)
    made = made.link(link("One camera", "/d/centerx-camera", "One camera in full"))
    for title, panels in {"Now": now(), "Frames": frames(), "Cameras": cameras(), "Models and engine": engine(),
                          "Subscribers and clients": subscribers(), "Machine": machine(), "GPUs": gpu()}.items():
        made = made.with_row(Row(title))
        for panel in panels:
            made = made.with_panel(panel)
    return made
