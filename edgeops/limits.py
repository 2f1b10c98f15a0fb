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
#: Spool records under one signature (verifying costs 125 us).
MAX_RECORDS_PER_MESSAGE = 16
#: One spool record before it enters an envelope.
MAX_RECORD_BYTES = 16 * 1024
#: Predictions in one record.
MAX_PREDICTIONS_PER_RECORD = 200
#: Named deployments on one device.
MAX_DEPLOYMENTS = 16
#: Error texts that travel.
MAX_DETAIL_LENGTH = 500

# -- blocks and metadata -------------------------------------------------------
BLOCK_BYTES = 32 * 1024
#: Blocks a device asks for at a time.
BLOCK_WINDOW = 8
#: The server sends a given block at most once per this span, however many ask.
BLOCK_RESEND_AFTER = timedelta(milliseconds=250)
#: The device asks again for blocks that did not come.
BLOCK_RETRY_AFTER = timedelta(seconds=2)
#: Token bucket over all blocks that leave the server, and per device.
BLOCK_RATE_BYTES_PER_S = 16 * 1024 * 1024
BLOCK_RATE_BYTES_PER_S_PER_DEVICE = 8 * 1024 * 1024
#: An artifact beyond this never fits a device of ours.
MAX_ARTIFACT_BYTES = 64 * 1024 * 1024
MAX_MANIFEST_BYTES = 256 * 1024
#: One TUF metadata file; 1,000 targets take 131 kB.
MAX_METADATA_BYTES = 512 * 1024
METADATA_PART_BYTES = 32 * 1024

# -- the device ----------------------------------------------------------------
#: A telemetry window closes at this many rows or this age, whichever is first.
WINDOW_ROWS = 500
WINDOW_AGE = timedelta(hours=1)
#: A window without its idle source for this long closes early, so that rows are accounted for.
WINDOW_IDLE = timedelta(seconds=2)
#: At most this many channels in a manifest.
MAX_CHANNELS = 64
#: More input columns than this: the most important ones plus projections of the embedding.
MAX_COLUMN_CHANNELS = 48
HISTOGRAM_BINS = 32
#: Prediction batches leave after this many or this long.
PREDICTION_BATCH = 50
PREDICTION_BATCH_AGE = timedelta(seconds=1)
#: Spool file; beyond it, NEW windows merge, then the oldest predictions go, counted.
SPOOL_BYTES = 32 * 1024 * 1024
#: SENT records without an ack are sent again after this.
ACK_TIMEOUT = timedelta(seconds=10)
#: Records in flight when the server has granted nothing yet.
INITIAL_CREDIT = 64
#: Artifact slots kept per deployment beside active and previous.
MAX_IDLE_SLOTS = 1

# -- the update machine --------------------------------------------------------
#: Real inferences a candidate must answer in TRIAL without error.
TRIAL_INFERENCES = 20
#: Starts of the agent that a TRIAL may see before it is rolled back (breaks reboot loops).
TRIAL_BOOTS = 3
#: Fetch attempts before FAILED.
FETCH_ATTEMPTS = 5
FETCH_TIMEOUT = timedelta(minutes=5)
#: Without input or contact for this long a TRIAL ends INCONCLUSIVE.
TRIAL_TIMEOUT = timedelta(minutes=10)
PROBE_TIMEOUT = timedelta(seconds=60)
PROBE_MEMORY_BYTES = 1024 * 1024 * 1024
TRUST_TIMEOUT = timedelta(seconds=30)
#: Reconnect: full jitter over this spread (the server may advertise another).
RECONNECT_MIN = timedelta(milliseconds=250)
RECONNECT_MAX = timedelta(seconds=30)

# -- the server ------------------------------------------------------------------
#: Ingestion commits after this many messages or this long, then acknowledges.
INGEST_BATCH = 200
INGEST_INTERVAL = timedelta(milliseconds=50)
#: MQTT Receive Maximum / max_inflight_messages: two ingestion batches.
RECEIVE_MAXIMUM = 2 * INGEST_BATCH
#: Quarantined messages kept (the newest), and how much of each.
QUARANTINE_ROWS = 10_000
QUARANTINE_BYTES = 64 * 1024
#: Predictions kept per device and deployment.
PREDICTIONS_KEPT = 20_000
ENROLMENT_TOKEN_LIFE = timedelta(hours=1)
JOB_TIMEOUT = timedelta(minutes=30)
#: An upload through the API.
MAX_UPLOAD_BYTES = 512 * 1024 * 1024
PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000

# -- rollouts --------------------------------------------------------------------
#: A device that was offered a model must end within this, else the rollout waits for a person.
OFFER_TIMEOUT = timedelta(minutes=15)
#: A wave nobody answers is PAUSED after this.
WAVE_TIMEOUT = timedelta(minutes=30)

# -- trust -------------------------------------------------------------------------
ROOT_LIFE = timedelta(days=3650)
TARGETS_LIFE = timedelta(days=365)
SNAPSHOT_LIFE = timedelta(days=30)
TIMESTAMP_LIFE = timedelta(days=30)
