/** The packets that open a connection: they have a length but no type byte. */
import { serialize } from 'pg-protocol';
import { Backend, StartupCode } from '../codes.ts';
import { MalformedMessage, MessageReader } from './reader.ts';
import { Writer, withoutZeroBytes } from './writer.ts';

/** Longest cancel key of protocol 3.2, behind the process id. */
const MAX_CANCEL_SECRET = 256;

export type OpeningPacket =
  | { readonly kind: 'ssl-request' }
  | { readonly kind: 'gss-enc-request' }
  /** `key` is process id and secret together, as BackendKeyData gave them. */
  | { readonly kind: 'cancel'; readonly key: Buffer }
  | StartupMessage
  | { readonly kind: 'unsupported-version'; readonly major: number; readonly minor: number };

export interface StartupMessage {
  readonly kind: 'startup';
  /** Protocol 3.`minor`. */
  readonly minor: number;
  /** In the order in which they came, duplicates included: a later value overrides. */
  readonly parameters: readonly (readonly [name: string, value: string])[];
  /** Names that begin with `_pq_.`: extensions of the protocol, none of which we know. */
  readonly protocolOptions: readonly string[];
}

/** @param body what follows the length word */
export function readOpeningPacket(body: Buffer): OpeningPacket {
  const reader = new MessageReader(body);
  const code = reader.uint32();
  switch (code) {
    case StartupCode.sslRequest:
      reader.end();
      return { kind: 'ssl-request' };
    case StartupCode.gssEncRequest:
      reader.end();
      return { kind: 'gss-enc-request' };
    case StartupCode.cancelRequest: {
      if (reader.remaining < 8 || reader.remaining > 4 + MAX_CANCEL_SECRET) {
        throw new MalformedMessage('invalid length of cancel request');
      }
      return { kind: 'cancel', key: reader.rest() };
    }
  }
  const major = code >>> 16;
  const minor = code & 0xffff;
  if (major !== 3) return { kind: 'unsupported-version', major, minor };
  return readStartupMessage(reader, minor);
}

function readStartupMessage(reader: MessageReader, minor: number): StartupMessage {
  const parameters: [string, string][] = [];
  const protocolOptions: string[] = [];
  for (;;) {
    if (reader.remaining === 0) {
      throw new MalformedMessage('invalid startup packet layout', 'Expected a terminator as the last byte.');
    }
    const name = reader.cstring();
    if (name === '') break;
    const value = reader.cstring();
    if (name.startsWith('_pq_.')) protocolOptions.push(name);
    else parameters.push([name, value]);
  }
  if (reader.remaining > 0) {
    throw new MalformedMessage('invalid startup packet layout', 'Expected a terminator as the last byte.');
  }
  return { kind: 'startup', minor, parameters, protocolOptions };
}

export function startupMessage(parameters: Iterable<readonly [name: string, value: string]>): Buffer {
  const writer = new Writer().addInt32(StartupCode.protocol3);
  for (const [name, value] of parameters) {
    // An empty name would end the packet early.
    if (name !== '') writer.addCString(withoutZeroBytes(name)).addCString(withoutZeroBytes(value));
  }
  return withLength(writer.addCString('').flush());
}

export const sslRequest: Buffer = serialize.requestSsl();

export function cancelRequest(pid: number, secret: Buffer): Buffer {
  return withLength(new Writer().addInt32(StartupCode.cancelRequest).addInt32(pid).add(secret).flush());
}

/** Tells the newest version we speak, 3.0, and the extensions we do not. */
export function negotiateProtocolVersion(unknownOptions: readonly string[]): Buffer {
  const writer = new Writer().addInt32(StartupCode.protocol3).addInt32(unknownOptions.length);
  for (const name of unknownOptions) writer.addCString(withoutZeroBytes(name));
  return writer.flush(Backend.NegotiateProtocolVersion);
}

function withLength(body: Buffer): Buffer {
  const packet = Buffer.allocUnsafe(4 + body.length);
  packet.writeInt32BE(packet.length, 0);
  body.copy(packet, 4);
  return packet;
}

export type OptionsToken =
  | { readonly kind: 'setting'; readonly name: string; readonly value: string }
  | { readonly kind: 'unsupported'; readonly text: string };

/**
 * The `options` parameter: words separated by white space, in which a backslash takes the next character as it is
 * (manual: libpq, "options"). Only settings are understood, as `-c name=value`, `-cname=value` or `--name=value`.
 */
export function readOptions(options: string): OptionsToken[] {
  const words = optionWords(options);
  const tokens: OptionsToken[] = [];
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!;
    let setting: string | undefined;
    if (word === '-c') setting = words[++index];
    else if (word.startsWith('-c') || word.startsWith('--')) setting = word.slice(2);
    const equals = setting?.indexOf('=') ?? -1;
    if (setting === undefined || equals < 1) {
      tokens.push({ kind: 'unsupported', text: word });
    } else {
      // The server reads dashes in a name as underscores, as in --client-encoding.
      const name = setting.slice(0, equals).replaceAll('-', '_');
      tokens.push({ kind: 'setting', name, value: setting.slice(equals + 1) });
    }
  }
  return tokens;
}

function optionWords(options: string): string[] {
  const words: string[] = [];
  let word: string | null = null;
  for (let index = 0; index < options.length; index++) {
    const character = options[index]!;
    if (character === '\\') {
      index++;
      word = (word ?? '') + (options[index] ?? '');
    } else if (' \t\n\r\v\f'.includes(character)) {
      if (word !== null) words.push(word);
      word = null;
    } else {
      word = (word ?? '') + character;
    }
  }
  if (word !== null) words.push(word);
  return words;
}
