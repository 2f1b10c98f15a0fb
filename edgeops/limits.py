"""Every bound in one place: whatever the outside can influence has a limit here.

Plain constants, grouped by what they protect. Durations are `timedelta`, sizes end in `_BYTES`.
Values that a site may change are read from configuration with these as defaults.
"""

from datetime import timedelta

# -- names -------------------------------------------------------------------
#: Ids are server-made: `[a-z0-9][a-z0-9-]{2,62}` (device, deployment, rollout, installation ...).
MAX_ID_LENGTH = 63
#: Input ids come from a source (replay: the row number).
MAX_INPUT_ID_LENGTH = 64

# -- messages ----------------------------------------------------------------
#: One MQTT payload; AWS IoT allows 128 kB, so everything fits every broker.
MAX_MESSAGE_BYTES = 64 * 1024
#: One MQTT packet, topic and headers included: what the broker takes, and all that an agent reads.
MAX_PACKET_BYTES = MAX_MESSAGE_BYTES + 4 * 1024
#: Spool records under one signature (verifying costs 125 us).
MAX_RECORDS_PER_MESSAGE = 16
#: One spool record before it enters an envelope.
MAX_RECORD_BYTES = 16 * 1024
#: Sequence numbers that one record may answer for beside its own, five bytes each on the wire.
MAX_ABSORBED = 2048
#: Predictions in one record.
MAX_PREDICTIONS_PER_RECORD = 200
#: One nominated input: its raw readings, and how many are asked for and travel at once.
MAX_SAMPLE_BYTES = 12 * 1024
MAX_NOMINEES = 1_000
MAX_SAMPLES_PER_RECORD = 64
#: Cells in which a window tells how two models agree: 32 classes by 32.
MAX_AGREEMENT_CELLS = 1_024
MAX_MAINTENANCE_WINDOWS = 8
#: What the owner of a device says of a hold.
MAX_HOLD_REASON_LENGTH = 200
#: Named deployments on one device.
MAX_DEPLOYMENTS = 16
#: A name or version that a device tells about itself, and how many counters it tells.
MAX_FACT_LENGTH = 100
MAX_COUNTERS = 256
#: What its owner calls it by, and columns of one deployment's source that it tells.
MAX_DEVICE_LABELS = 32
MAX_SENSORS = 256
#: Error texts that travel.
MAX_DETAIL_LENGTH = 500

# -- blocks and metadata -------------------------------------------------------
BLOCK_BYTES = 32 * 1024
#: Blocks a device asks for at a time.
BLOCK_WINDOW = 8
#: The server sends a given block at most once per this span, however many ask.
BLOCK_RESEND_AFTER = timedelta(milliseconds=250)
#: How long a block is held back for the next device that is close behind, once one has asked. Measured with a hundred
#: that share two slow cores: 1.3 to 1.5 messages a block; one slow device holds the others to 512 KiB/s.
BLOCK_GATHER = timedelta(milliseconds=500)
#: A block is held back no longer than this, and leaves then before those that more devices wait for.
BLOCK_LONGEST_WAIT = timedelta(seconds=5)
#: A device that asks for no block for so long fetches no more; the most patient asks again before.
BLOCK_SILENT_AFTER = timedelta(seconds=10)
#: The device asks again for blocks that did not come: after the first, or for as long as they usually take and vary.
BLOCK_RETRY_AFTER = timedelta(seconds=2)
BLOCK_RETRY_AT_MOST_AFTER = timedelta(seconds=8)
#: Token bucket over all blocks that leave the server, and per device.
BLOCK_RATE_BYTES_PER_S = 16 * 1024 * 1024
BLOCK_RATE_BYTES_PER_S_PER_DEVICE = 8 * 1024 * 1024
#: Above this size a blob comes over HTTP in ranges, of which one request asks for at most so many blocks.
RANGES_ABOVE_BYTES = 5_000_000
RANGE_BLOCKS = 64
#: Token bucket over all ranges that leave the server; per device the bucket is that of blocks.
RANGE_RATE_BYTES_PER_S = 64 * 1024 * 1024
#: Ranges that one device reads at a time, and all of them together.
RANGES_PER_DEVICE = 2
RANGES_AT_ONCE = 512
#: A range whose reader takes nothing for this long is given up by the server, one that brings nothing by the device.
RANGE_STALL = timedelta(seconds=30)
#: The server says nothing at all over HTTP.
HTTP_SILENCE = timedelta(seconds=10)
#: Requests in a row that bring no block before the other way is tried, and the pause between them (full jitter).
RANGE_TRIES = 3
RANGE_RETRY_AFTER = timedelta(milliseconds=500)
#: A way that brings no block for this long gives way to the other one.
TRANSPORT_PATIENCE = timedelta(seconds=20)
#: The pass in an Authorization header, as base64.
MAX_PASS_LENGTH = 1024
#: Topic and headers around the payload of one MQTT message.
PACKET_OVERHEAD_BYTES = 512
#: An artifact beyond this never fits a device of ours.
MAX_ARTIFACT_BYTES = 64 * 1024 * 1024
MAX_MANIFEST_BYTES = 256 * 1024
#: Each other part inside an artifact: reference profile, golden vectors, labels, card.
MAX_ARTIFACT_PART_BYTES = 4 * 1024 * 1024
#: One TUF metadata file; 1,000 targets take 131 kB.
MAX_METADATA_BYTES = 512 * 1024
METADATA_PART_BYTES = 32 * 1024
#: Between a device and its trust child: all targets of one answer, descriptors of a few kilobytes each.
MAX_TRUST_FRAME_BYTES = 16 * 1024 * 1024

# -- the device ----------------------------------------------------------------
#: A telemetry window closes at this many rows or this age, whichever is first.
WINDOW_ROWS = 500
WINDOW_AGE = timedelta(hours=1)
#: What a replayed file plays at unless its owner says otherwise: like a sensor, not like a benchmark.
REPLAY_RATE_HZ = 100.0
#: A window whose source is silent for this long, and for so many times what it usually is between two rows, closes
#: early, so that rows are accounted for.
WINDOW_IDLE = timedelta(seconds=2)
WINDOW_IDLE_ROWS = 3
#: At most this many channels in a manifest.
MAX_CHANNELS = 64
#: Rows of one input window, and rows that are filled in over one gap.
MAX_WINDOW_ROWS = 65_536
#: Rows a second of a model that has its rows resampled.
MAX_RATE_HZ = 1e6
#: More input columns than this: the most important ones plus projections of the embedding.
MAX_COLUMN_CHANNELS = 48
HISTOGRAM_BINS = 32
#: Prediction batches leave after this many or this long.
PREDICTION_BATCH = 50
PREDICTION_BATCH_AGE = timedelta(seconds=1)
#: Spool file; beyond it, NEW windows merge, then the oldest predictions go, then the oldest samples, counted.
SPOOL_BYTES = 32 * 1024 * 1024
#: What waits in memory for a disk that takes nothing; beyond it windows merge, then the oldest predictions go, counted.
TRAY_BYTES = 4 * 1024 * 1024
#: SENT records without an ack are sent again after this.
ACK_TIMEOUT = timedelta(seconds=10)
#: Records in flight when the server has granted nothing yet.
INITIAL_CREDIT = 64
#: Values that a replayed file may hold in memory, as float32.
MAX_REPLAY_BYTES = 256 * 1024 * 1024
#: One row that comes through stdin.
MAX_FEED_LINE_BYTES = 1024 * 1024
#: A file played as fast as the model answers waits while more records than this wait for the server.
MAX_REPLAY_PENDING = 2_000
#: The latest inputs of one model that a deployment keeps to nominate from, and their memory.
POOL_INPUTS = 2_000
POOL_BYTES = 4 * 1024 * 1024
#: What nominated inputs of one deployment may take in a day, by the device's own clock (UTC).
SAMPLE_BYTES_PER_DAY = 512 * 1024
#: A source or sink that failed rests this long, doubling up to the second value.
RETRY_MIN = timedelta(seconds=1)
RETRY_MAX = timedelta(minutes=1)
#: A loop of the agent that does not turn for this long hangs, and the process ends itself; a slow step of an update has
#: the longer time. Far beyond a slow card, one inference, or parsing a large file.
LOOP_HANGS_AFTER = timedelta(minutes=5)
STEP_HANGS_AFTER = timedelta(hours=1)
#: Answers that wait for a sink's broker, and how many are on their way to it; an actuating sink keeps the newest alone.
SINK_WAITING = 1_000
SINK_IN_FLIGHT = 20
#: Of a device's memory, what one model may use.
MODEL_MEMORY_SHARE = 0.5
#: Disk that stays free after an artifact was fetched.
DISK_RESERVE_BYTES = 16 * 1024 * 1024
#: Artifact slots kept per deployment beside active and previous.
MAX_IDLE_SLOTS = 1

# -- a shadow on the device ----------------------------------------------------
#: Over so long its share of the processor is reckoned: what it may use up at once.
SHADOW_CPU_SPAN = timedelta(seconds=10)
#: Errors in a row, others than that an input is refused, after which it is given up.
SHADOW_FAILURES = 10
#: An answer that takes longer than this, and than so many times that of the model in charge, is waited for no more, and
#: the shadow given up.
SHADOW_PATIENCE = timedelta(seconds=2)
SHADOW_PATIENCE_FACTOR = 10
#: How often it is written down how long a model has baked; a start of the agent that lasts so long is no crash.
BAKE_NOTED_AFTER = timedelta(minutes=1)
#: Starts in a row that did not, after which no shadow answers any more.
SHADOW_STARTS = 3
#: Of a pool, the part that disagreements hold against newer inputs.
POOL_DISAGREEMENTS = 0.25

# -- the update machine --------------------------------------------------------
#: Real inferences a candidate must answer in TRIAL without error.
TRIAL_INFERENCES = 20
#: Starts of the agent that a probe may see before it failed, and a TRIAL before it is rolled back: no reboot loops.
TRIAL_BOOTS = 3
#: Starts of the agent in a row that neither lasted (BAKE_NOTED_AFTER) nor ended in order, after which an active model
#: answers no more: of those in which the server was not heard (one more than a shadow may take down, which goes first),
#: and of all, power cuts included.
ACTIVE_STARTS = SHADOW_STARTS + 1
ACTIVE_STARTS_HEARD = 20
#: Fetch attempts before FAILED.
FETCH_ATTEMPTS = 5
FETCH_TIMEOUT = timedelta(minutes=5)
#: Without input or contact for this long a TRIAL ends INCONCLUSIVE.
TRIAL_TIMEOUT = timedelta(minutes=10)
PROBE_TIMEOUT = timedelta(seconds=60)
PROBE_MEMORY_BYTES = 1024 * 1024 * 1024
#: A device is asked for a benchmark again after this, and until its life is over. A rollout that has the server ask
#: does so up to so many times in vain for a class, and waits this long for all classes unless its policy says else.
BENCHMARK_RETRY_AFTER = timedelta(seconds=30)
BENCHMARK_LIFE = timedelta(minutes=30)
BLESSING_ATTEMPTS = 5
BLESSING_TIMEOUT = timedelta(days=1)
#: A benchmark times so many inferences, or as many as fit the span, and has ended after the timeout.
BENCHMARK_INFERENCES = 1_000
BENCHMARK_SPAN = timedelta(seconds=20)
BENCHMARK_TIMEOUT = timedelta(seconds=60)
TRUST_TIMEOUT = timedelta(seconds=30)
#: An update that waits (no contact, a failed attempt, a full disk) is taken up again after this.
UPDATE_RETRY_AFTER = timedelta(seconds=5)
#: Reconnect: full jitter over a spread that doubles from the first to the second value, and is never less than what
#: the server advertises: a fleet that lost its broker shall not come back as so many connections at once.
RECONNECT_MIN = timedelta(milliseconds=250)
RECONNECT_MAX = timedelta(seconds=30)
RECONNECTS_PER_S = 50
MAX_RECONNECT_SPREAD = timedelta(minutes=10)

# -- the server ------------------------------------------------------------------
#: Ingestion commits after this many messages or this long, then acknowledges.
INGEST_BATCH = 400
INGEST_INTERVAL = timedelta(milliseconds=50)
#: How long a thread of the link keeps the interpreter while another wants it.
LINK_SWITCH_INTERVAL = timedelta(microseconds=100)
#: As long as more messages wait, what is committed is acknowledged to devices after this at the latest.
ACK_DELAY = timedelta(milliseconds=250)
#: MQTT Receive Maximum / max_inflight_messages: two ingestion batches.
RECEIVE_MAXIMUM = 2 * INGEST_BATCH
#: Records a device may have in flight once the server has spoken to it.
CREDIT_RECORDS = 256
#: Ranges above `through` that the ledger of one spool keeps, and spools that one Ack names.
MAX_SPOOL_RANGES = 256
MAX_SPOOLS_PER_ACK = 8
#: A record older than this, or a device clock further ahead than the second, is not believed.
MAX_RECORD_AGE = timedelta(days=400)
MAX_CLOCK_AHEAD = timedelta(minutes=5)
#: How often `last_seen_at` is written, and an alert about one device and reason repeated.
LAST_SEEN_INTERVAL = timedelta(seconds=10)
ALERT_INTERVAL = timedelta(minutes=1)
#: A device tells its state again after this although nothing changed. One that says nothing for the second is offline
#: although no last will came; one that is at work on an update may always say nothing for the third.
REPORT_INTERVAL = timedelta(minutes=1)
SILENCE_TIMEOUT = timedelta(minutes=5)
QUIET_WORK = 2 * REPORT_INTERVAL
#: Device keys and artifacts are read again after this, so that a removal or withdrawal counts.
KEYS_REFRESH_INTERVAL = timedelta(seconds=5)
ARTIFACTS_REFRESH_INTERVAL = timedelta(seconds=1)
#: A device that is heard is told the time again after this, and at once when the server's clock stepped by this much.
TIME_TOLD_AGAIN_AFTER = timedelta(days=1)
CLOCK_STEP = timedelta(minutes=10)
#: The outbox: how often it is looked at, letters at a time, and when one is sent again.
OUTBOX_INTERVAL = timedelta(milliseconds=50)
OUTBOX_BATCH = 100
OUTBOX_RETRY_AFTER = timedelta(seconds=10)
#: A database that is locked or full is tried again after this.
OUTAGE_RETRY_AFTER = timedelta(milliseconds=500)
#: PostgreSQL: connections of one process to each chain; how long it waits for the write lock, and may hold it while it
#: does nothing.
DATABASE_CONNECTIONS = 10
WRITE_LOCK_TIMEOUT = timedelta(seconds=30)
IDLE_WRITE_TIMEOUT = timedelta(seconds=60)
#: Where a database tells that something was written: writes that come within this are told once, and after this it is
#: looked for although nothing was told.
NEWS_PAUSE = timedelta(milliseconds=10)
NEWS_LOOK_AFTER = timedelta(seconds=1)
#: A process that is the only one of its kind at a database says again and again that it lives; when it has not for so
#: long, another that waits takes its place, and looks this often.
LEASE_LIFE = timedelta(seconds=10)
LEASE_RENEWED_AFTER = timedelta(seconds=2)
LEASE_LOOK_EVERY = timedelta(milliseconds=500)
#: Blocks that wait to be sent: in all and asked for by one device.
WAITING_BLOCKS = 4096
WAITING_BLOCKS_PER_DEVICE = 64
#: Wishes that wait to be read; devices ask again.
WAITING_WISHES = 1024
#: Quarantined messages kept (the newest), and how much of each.
QUARANTINE_ROWS = 10_000
QUARANTINE_BYTES = 64 * 1024
#: Of one device, for one reason, out of one ingestion batch; the alert counts them all.
QUARANTINE_PER_BATCH = 16
#: Of one device: the newest, so that it drives out its own and nobody else's.
QUARANTINE_ROWS_PER_DEVICE = 200
#: What every device may say whatever the others do, messages and bytes a second, and at once. What is beyond is taken
#: in as long as little waits, else dropped.
DEVICE_MESSAGES_PER_S = 50
DEVICE_MESSAGES_AT_ONCE = 300
DEVICE_BYTES_PER_S = 2 * 1024 * 1024
DEVICE_BYTES_AT_ONCE = 8 * 1024 * 1024
#: What it may say in a day in any case.
DEVICE_BYTES_PER_DAY = 1024 * 1024 * 1024
#: A device of which so much was dropped within the span is cut off from the broker for a while.
FLOOD_SPAN = timedelta(seconds=10)
FLOOD_MESSAGES = 2_000
FLOOD_BYTES = 64 * 1024 * 1024
CUT_OFF = timedelta(minutes=1)
#: The broker's log: lines of one client in a second, and bytes after which a new file begins (the last one is kept).
BROKER_LOG_LINES_PER_S = 20
BROKER_LOG_BYTES = 8 * 1024 * 1024
#: Predictions, and telemetry windows, kept per device and deployment: the latest.
PREDICTIONS_KEPT = 20_000
WINDOWS_KEPT = 50_000
#: Neither is kept longer than this.
TELEMETRY_LIFE = timedelta(days=90)
#: Hourly sums of windows are kept this long, and how many the link holds in memory.
ROLLUP_LIFE = timedelta(days=400)
ROLLUPS_CACHED = 2_000
#: Events kept (the newest); those that the engine has not taken in stay in any case, and those that a receiver of
#: webhooks was not told up to the second number: what it then misses it is told.
EVENTS_KEPT = 100_000
EVENTS_KEPT_UNTOLD = 500_000
#: Ledgers kept per device: its latest spools.
SPOOLS_KEPT = 32
#: How often the server looks for what is beyond that, and rows that go in one transaction.
RETENTION_INTERVAL = timedelta(hours=1)
RETENTION_BATCH = 1_000
ENROLMENT_TOKEN_LIFE = timedelta(hours=1)
#: Each costs a slow hash.
ENROLMENT_TOKENS_AT_ONCE = 100
#: Of such a token, with the fingerprint of the CA behind it.
MAX_TOKEN_LENGTH = 300
JOB_TIMEOUT = timedelta(minutes=30)
#: Passes of one training over its rows, each of which leaves a row behind.
MAX_EPOCHS = 10_000
#: Of a recipe of the owner's own: the file, and what each of its functions may take.
MAX_RECIPE_BYTES = 256 * 1024
RECIPE_TIME = timedelta(seconds=60)
#: Runs in one picture.
MAX_CURVES = 5
#: An upload through the API.
MAX_UPLOAD_BYTES = 512 * 1024 * 1024
#: What is left of one that broke off is deleted after this.
INCOMING_LIFE = timedelta(days=1)
#: A dataset: values (rows x columns, held as float32), columns, classes, and rows of the rarest class.
MAX_DATASET_VALUES = 100_000_000
#: Its snapshot: the values, plus what there is of each row, which are as many at most.
MAX_SNAPSHOT_BYTES = 48 * MAX_DATASET_VALUES
#: Refused rows, as JSON lines and packed.
MAX_QUARANTINE_BYTES = 2 * 1024**3
#: A line of a file, line breaks between quotes included.
MAX_LINE_BYTES = 16 * 1024 * 1024
#: What the process that reads files may hold.
IMPORT_MEMORY_BYTES = 4 * 1024**3
#: A model that a person brings, and all that is in it when it is an archive: weights, twice more of an optimizer's.
MAX_BROUGHT_BYTES = 4 * MAX_ARTIFACT_BYTES
MAX_BROUGHT_MEMBERS = 1_000
#: How long it may take for its first answers together.
FIRST_ANSWERS = timedelta(minutes=1)
MAX_DATASET_COLUMNS = 4_096
#: Values of one recording, of all channels.
MAX_CLIP_VALUES = 65_536
#: A folder of files, zipped or not: how many, bytes of one and of all as they are unpacked, characters of a path in it.
MAX_FOLDER_FILES = 100_000
MAX_FOLDER_FILE_BYTES = 64 * 1024 * 1024
MAX_FOLDER_BYTES = 2 * 1024**3
MAX_FOLDER_PATH_LENGTH = 200
#: A picture before it is decoded; readings a second of a recording.
MAX_PICTURE_PIXELS = 4096 * 4096
MAX_RECORDING_HZ = 384_000
#: Parts of a WAV file that are looked at; what is beside kind and readings tells titles and the like.
MAX_RECORDING_CHUNKS = 1_000
MAX_CLASSES = 256
MIN_ROWS_PER_CLASS = 10
#: The largest finite 32-bit float.
MAX_FLOAT32 = 3.4028234663852886e38
PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000
#: Event streams: how often the server looks for news, what it keeps in memory for all of them, how many there may be.
STREAM_INTERVAL = timedelta(milliseconds=250)
STREAM_EVENTS = 1_000
MAX_STREAMS = 100
#: A silent stream says that it lives; one this old ends, so that its reader shows a valid token again.
STREAM_HEARTBEAT = timedelta(seconds=15)
STREAM_LIFE = timedelta(minutes=15)

#: For so long a request that comes again with its Idempotency-Key gets the first answer; of one token, its newest keys.
IDEMPOTENCY_LIFE = timedelta(days=1)
IDEMPOTENCY_KEYS_PER_TOKEN = 1_000
#: A client sends a request again of which it does not know whether it arrived: so often in all, and within this.
REQUEST_TRIES = 3
REQUEST_RETRY_WITHIN = timedelta(minutes=1)

#: Webhooks: receivers, kinds that one names, how long one may take to answer, attempts and the pauses between them (a
#: day in all), and how long it is told what came of a message.
MAX_WEBHOOKS = 32
MAX_WEBHOOK_KINDS = 32
WEBHOOK_INTERVAL = timedelta(milliseconds=500)
WEBHOOK_TIMEOUT = timedelta(seconds=10)
WEBHOOK_ATTEMPTS = 16
WEBHOOK_RETRY_MIN = timedelta(seconds=5)
WEBHOOK_RETRY_MAX = timedelta(hours=3)
DELIVERY_LIFE = timedelta(days=7)
#: Messages to one receiver that wait: more are made of events when these are gone. So many go in a row.
DELIVERIES_WAITING = 200
DELIVERIES_IN_A_ROW = 50

#: A backup tells how far it is after so many blobs.
BACKUP_NEWS_EVERY = 100
#: For so long `edgeops devices list` says that this server came out of a backup.
RESTORATION_TOLD = timedelta(days=30)

# -- the loop ------------------------------------------------------------------------
#: How often the server looks for new windows to judge, and how far back they count.
DRIFT_INTERVAL = timedelta(milliseconds=500)
DRIFT_HORIZON = timedelta(days=7)
#: Of each device its newest windows count, fewer where a fleet is so large that these channel histograms fill up.
DRIFT_WINDOWS_PER_DEVICE = 96
DRIFT_HISTOGRAMS = 96 * 1024
#: A window of more rows is no window: a device closes it at WINDOW_ROWS, and its spool merges few.
DRIFT_WINDOW_ROWS = 1_000_000
#: A finding that goes on is written again after this at the earliest; one in which only the set of drifted channels
#: changes becomes a new one after the second.
FINDING_REFRESH_AFTER = timedelta(seconds=5)
FINDING_SETTLES_AFTER = timedelta(minutes=1)
#: Findings kept of one model file, deployment and device: the newest.
FINDINGS_KEPT = 500
#: Devices nominate this many times their share of the labels, so that the server can choose.
NOMINATION_SURPLUS = 2.5
#: So many together at least: the reference of what a healed model answers is made of them.
LEAST_NOMINEES = 120
#: A nomination is asked for again after this, and is complete without the silent after that.
NOMINATION_RETRY_AFTER = timedelta(seconds=10)
NOMINATION_TIMEOUT = timedelta(minutes=10)
#: Samples that nobody labelled, and that wait for no label, are kept this long; so is who was asked for samples.
SAMPLE_LIFE = timedelta(days=90)
#: Labels in one request or CSV file.
MAX_LABELS_PER_REQUEST = 10_000
#: Of a model's labels, what devices themselves may contribute as feedback, in all and each.
FEEDBACK_SHARE = 0.5
FEEDBACK_SHARE_PER_DEVICE = 0.2
#: Inputs in an acceptance set.
MAX_ACCEPTANCE_INPUTS = 256
#: How long a delegated key may sign.
DELEGATION_LIFE = timedelta(days=90)

# -- rollouts --------------------------------------------------------------------
#: A selector, how deep parentheses go in it, devices that a fixed group lists, and groups.
MAX_SELECTOR_LENGTH = 2_000
MAX_SELECTOR_DEPTH = 32
MAX_GROUP_DEVICES = 10_000
MAX_GROUPS = 1_000
#: A rollout over fewer devices holds none back as control.
CONTROL_FROM_DEVICES = 10
#: A text file of a person: a fleet, a pipeline, rules, labels; and how deep tables and lists go in a fleet.
MAX_WRITTEN_BYTES = 1024 * 1024
MAX_FLEET_FILE_DEPTH = 32
#: Pins that are to be by the time a previewed rollout begins.
MAX_PREVIEWED_PINS = 10_000
#: What a preview is asked with: an order, and the groups and pins of a whole fleet file.
MAX_PREVIEW_BYTES = 4 * MAX_WRITTEN_BYTES
#: What the policy of a rollout may ask: spans, inferences of a trial, devices in a wave, retries of one device.
MAX_POLICY_SPAN = timedelta(days=90)
MAX_TRIAL_INFERENCES = 1_000_000
MAX_WAVE_DEVICES = 1_000_000
MAX_INSTALLATION_RETRIES = 10
#: Tables and lists in one another, as in the policy of a rollout; a policy needs half of them.
MAX_PLAIN_DEPTH = 8
#: Labels of a device, and what each may say.
MAX_LABELS = 64
MAX_LABEL_LENGTH = 200
#: Names of devices that one error tells.
NAMED_IN_ERRORS = 8
#: A device that was offered a model must end within this, else the rollout waits for a person.
OFFER_TIMEOUT = timedelta(minutes=15)
#: A wave nobody answers is PAUSED after this.
WAVE_TIMEOUT = timedelta(minutes=30)
#: A device that was asked and is online must be heard to go on within this.
PROGRESS_TIMEOUT = timedelta(minutes=10)
#: How long a wave shows itself before the health gate, and how much longer evidence is waited for.
BAKE = timedelta(minutes=10)
EVIDENCE_TIMEOUT = timedelta(hours=1)
#: Inputs before a health gate judges, and disagreements that it sends for labelling.
HEALTH_ROWS = 200
#: Windows of a device's own past that a health gate compares it with: the newest.
HEALTH_BASELINE_WINDOWS = 48
HEALTH_LABELS = 120
#: Starts of an agent that count at once, however many there were since its last window.
HEALTH_CRASHES = 100
#: Starts of a device's agent that the server remembers the times of: the newest.
STARTS_KEPT = 64
#: Windows that a device closes in one bake, and how long they last at least and at most.
BAKE_WINDOWS = 20
SHORT_WINDOW = timedelta(seconds=1)
LONGEST_BAKE_WINDOW = timedelta(minutes=1)
#: A device that hears nothing more goes on showing itself for so long at least.
SHORTEST_SHADOWING = timedelta(minutes=10)
#: Memory of a model that rises by less is not looked at.
HEALTH_MEMORY_RISE_BYTES = 4 * 1024 * 1024
#: What a shadow answers of the inputs, and of one core may take.
SHADOW_SHARE = 0.2
SHADOW_CPU = 0.1
#: A device that runs something else than it shall is told again what that is, once in this.
ASKED_AGAIN_AFTER = timedelta(minutes=10)
#: The pause before a device is asked again.
INSTALLATION_RETRY_AFTER = timedelta(minutes=1)
#: A device that waits for its maintenance window, or is held by its owner, has this long: a week has every window.
LONGEST_HOLD = timedelta(days=8)
#: A draft that nobody submits, and a rollout that nobody approves, end after this.
APPROVAL_TIMEOUT = timedelta(days=7)
#: Devices are heard to have gone back within this, else the rollout names those that were not.
ROLL_BACK_TIMEOUT = timedelta(minutes=30)
#: The service clock: how often the link says that it hears devices, and silence of it that makes the clock stand still;
#: how long it stands afterwards, so that devices are heard first; how often it is written down.
HEARTBEAT_INTERVAL = timedelta(seconds=5)
HEARTBEAT_MISSED = timedelta(seconds=30)
GRACE_AFTER_OUTAGE = timedelta(minutes=2)
CLOCK_KEPT_EVERY = timedelta(seconds=10)

# -- one machine (`edgeops up`) -----------------------------------------------------
#: A process that ended starts again after this, doubling with each of its ends within the span ...
RESTART_PAUSE = timedelta(milliseconds=500)
RESTART_SPAN = timedelta(minutes=1)
#: ... and so many ends within the span end the site.
RESTART_ENDS = 5

# -- trust -------------------------------------------------------------------------
ROOT_LIFE = timedelta(days=3650)
#: Roots are taken one by one, so a restored repository signs one for each version that devices may have.
MAX_ROOT_VERSION = 1_000
TARGETS_LIFE = timedelta(days=365)
SNAPSHOT_LIFE = timedelta(days=30)
TIMESTAMP_LIFE = timedelta(days=30)
#: A certificate authority of the fleet, and what it signs for the server, which is renewed when a third is left.
CA_LIFE = timedelta(days=3650)
SERVER_CERTIFICATE_LIFE = timedelta(days=90)
#: A new CA is listed for this long before the server shows a certificate of it.
CA_OVERLAP = timedelta(days=30)
#: A device that is connected asks for the list of CAs this often; one that believes no server looks for a way back
#: at most this often.
AUTHORITIES_REFRESH_AFTER = timedelta(days=1)
WAYBACK_INTERVAL = timedelta(seconds=15)
#: CAs that devices believe side by side.
MAX_AUTHORITIES = 4
#: Clocks of two machines that sign may differ by so much.
CLOCKS_DIFFER = timedelta(days=1)
#: By what signs: a TUF role, or a delegated key.
SIGNED_LIFE = {
    "root": ROOT_LIFE,
    "targets": TARGETS_LIFE,
    "snapshot": SNAPSHOT_LIFE,
    "timestamp": TIMESTAMP_LIFE,
    "auto": DELEGATION_LIFE,
    "ca": CA_LIFE,
}
#: Roots that a device follows at once (python-tuf), so that a change brings along no more of them either.
MAX_ROOTS = 256
#: A change of what is signed offline: old and new targets, roots, and the content of what is new.
MAX_CHANGE_BYTES = 8 * 1024 * 1024
#: With the digest before its last part, what a target is kept under is still a file name (NAME_MAX, 255).
MAX_TARGET_PATH = 180
#: Keys that may sign for root or targets.
MAX_ROLE_KEYS = 16
#: So long before what a key signed ends, it is told.
EXPIRY_ALERTS = (timedelta(days=90), timedelta(days=30), timedelta(days=7))
