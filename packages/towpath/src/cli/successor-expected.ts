/** Why a process is asked to end when the next one starts at once: the service is restarted. */
export class SuccessorExpected extends Error {
  override readonly name: string = 'SuccessorExpected';

  constructor() {
    super('The process is replaced by another one.');
  }
}
