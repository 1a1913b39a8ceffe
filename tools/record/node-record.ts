/** The words of a record in a thread's log: what the preloaded recorder writes and `spanheap record` reads. */
export const enum NodeRecord {
  /** Its place among the events of all threads, from 0. */
  Sequence = 0,
  /** A {@link NodeRecordKind}, and above it the size's bits from 32 on. */
  Kind = 1,
  /** A number that the block has in its thread. */
  Block = 2,
  /** The size's lower 32 bits. */
  Size = 3,
  Words = 4,
}

/** What a record tells. */
export const enum NodeRecordKind {
  Malloc = 1,
  Free = 2,
  Realloc = 3,
  Calloc = 4,
  /** The thread has started a worker. It is no event and has no place among them. */
  Worker = 5,
}

/** The variables by which the preloaded recorder is told what to do. */
export const enum RecorderVariable {
  /** The folder for the logs. */
  Folder = 'SPANHEAP_RECORD_FOLDER',
  /** How many events to record. */
  Events = 'SPANHEAP_RECORD_EVENTS',
}

/** The files in that folder. */
export const enum RecorderFile {
  /** The number of the process that is recorded: the first to make this file. */
  Owner = 'owner',
  /** What the name of a thread's log begins with; then comes its number in the process. */
  Thread = 'thread-',
}
