import crypto, { webcrypto } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import tls from 'node:tls'
import { promisify } from 'node:util'
import { type ApiGroup, expect, expectBytes, type Memory, type NodeApi, SAMPLE } from './api.ts'

/** What the types of Node 20 don't know. */
const newer = crypto as typeof crypto & {
  argon2Sync(algorithm: string, parameters: object): Buffer
}

const KEY = SAMPLE.subarray(0, 32)
const IV = SAMPLE.subarray(32, 44)
const SALT = SAMPLE.subarray(44, 60)
const { subtle } = webcrypto

const sha256 = (bytes: Uint8Array) => crypto.createHash('sha256').update(bytes).digest()

/** A result that must be the same whether what it is made of is in this memory or in Node's own. */
function same(name: string, make: (hold: (bytes: Uint8Array) => Buffer) => Uint8Array | Promise<Uint8Array>): NodeApi {
  return {
    name,
    use: async (memory) => expectBytes(await make((bytes) => memory.holding(bytes)), await make(Buffer.from)),
  }
}

function sealed(hold: (bytes: Uint8Array) => Buffer = Buffer.from): { text: Buffer; tag: Buffer } {
  const cipher = crypto.createCipheriv('aes-256-gcm', hold(KEY), hold(IV)).setAAD(hold(SALT))
  const text = Buffer.concat([cipher.update(hold(SAMPLE)), cipher.final()])
  return { text, tag: cipher.getAuthTag() }
}

function opens(memory: Memory): void {
  const { text, tag } = sealed()
  const decipher = crypto
    .createDecipheriv('aes-256-gcm', memory.holding(KEY), memory.holding(IV))
    .setAAD(memory.holding(SALT))
    .setAuthTag(memory.holding(tag))
  expectBytes(Buffer.concat([decipher.update(memory.holding(text)), decipher.final()]))
}

const keyPair = () => crypto.generateKeyPairSync('ed25519')

async function aesKey(bytes: Uint8Array = KEY): Promise<webcrypto.CryptoKey> {
  return subtle.importKey('raw', bytes, 'AES-GCM', true, ['encrypt', 'decrypt'])
}

async function hmacKey(): Promise<webcrypto.CryptoKey> {
  return subtle.importKey('raw', KEY, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign', 'verify'])
}

const filled = (room: Uint8Array) => expect(new Set(room).size > 100, 'it was not filled')

export const cryptoApis: ApiGroup = {
  title: 'node:crypto',
  apis: [
    same('crypto.Hash.update', (hold) => crypto.createHash('sha256').update(hold(SAMPLE)).digest()),
    same('crypto.Hash as a stream', (hold) => {
      const hash = crypto.createHash('sha256')
      hash.end(hold(SAMPLE))
      return buffer(hash)
    }),
    {
      name: 'crypto.hash',
      use: (memory) => expectBytes(crypto.hash('sha256', memory.holding(), 'buffer'), sha256(SAMPLE)),
    },
    same('crypto.createHmac', (hold) => crypto.createHmac('sha256', hold(KEY)).update(hold(SAMPLE)).digest()),
    same('crypto.createCipheriv', (hold) => {
      const { text, tag } = sealed(hold)
      return Buffer.concat([text, tag])
    }),
    { name: 'crypto.createDecipheriv', use: opens },
    {
      name: 'crypto.sign',
      use(memory) {
        const { publicKey, privateKey } = keyPair()
        const signature = crypto.sign(null, memory.holding(), privateKey)
        expect(crypto.verify(null, SAMPLE, publicKey, signature), 'the signature is wrong')
      },
    },
    {
      name: 'crypto.verify',
      use(memory) {
        const { publicKey, privateKey } = keyPair()
        const signature = memory.holding(crypto.sign(null, SAMPLE, privateKey))
        expect(crypto.verify(null, memory.holding(), publicKey, signature), 'the signature is not accepted')
      },
    },
    {
      name: 'crypto.Sign.update, crypto.Verify.update',
      use(memory) {
        const { publicKey, privateKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' })
        const signature = crypto.createSign('sha256').update(memory.holding()).sign(privateKey)
        expect(crypto.createVerify('sha256').update(SAMPLE).verify(publicKey, signature), 'the signature is wrong')
        const verify = crypto.createVerify('sha256').update(memory.holding())
        expect(verify.verify(publicKey, memory.holding(signature)), 'the signature is not accepted')
      },
    },
    same('crypto.createSecretKey', (hold) => crypto.createSecretKey(hold(KEY)).export()),
    {
      name: 'crypto.createPrivateKey, crypto.createPublicKey',
      use(memory) {
        const { publicKey, privateKey } = keyPair()
        const secret = privateKey.export({ format: 'der', type: 'pkcs8' })
        const open = publicKey.export({ format: 'der', type: 'spki' })
        const first = crypto.createPrivateKey({ key: memory.holding(secret), format: 'der', type: 'pkcs8' })
        expectBytes(first.export({ format: 'der', type: 'pkcs8' }), secret)
        const second = crypto.createPublicKey({ key: memory.holding(open), format: 'der', type: 'spki' })
        expectBytes(second.export({ format: 'der', type: 'spki' }), open)
      },
    },
    {
      name: 'crypto.publicEncrypt, crypto.privateDecrypt',
      use(memory) {
        const { publicKey, privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 1024 })
        const secret = crypto.publicEncrypt(publicKey, memory.holding(KEY))
        expectBytes(crypto.privateDecrypt(privateKey, memory.holding(secret)), KEY)
      },
    },
    same('crypto.ECDH.setPrivateKey, computeSecret', (hold) => {
      const other = crypto.createECDH('prime256v1')
      other.setPrivateKey(SAMPLE.subarray(100, 132))
      const ecdh = crypto.createECDH('prime256v1')
      ecdh.setPrivateKey(hold(KEY))
      return ecdh.computeSecret(hold(other.getPublicKey()))
    }),
    same('crypto.pbkdf2Sync', (hold) => crypto.pbkdf2Sync(hold(KEY), hold(SALT), 10, 32, 'sha256')),
    same('crypto.pbkdf2', (hold) => promisify(crypto.pbkdf2)(hold(KEY), hold(SALT), 10, 32, 'sha256')),
    same('crypto.scryptSync', (hold) => crypto.scryptSync(hold(KEY), hold(SALT), 32, { N: 16 })),
    same('crypto.scrypt', (hold) =>
      promisify<Buffer, Buffer, number, crypto.ScryptOptions, Buffer>(crypto.scrypt)(hold(KEY), hold(SALT), 32, {
        N: 16,
      })
    ),
    same('crypto.hkdfSync', (hold) => new Uint8Array(crypto.hkdfSync('sha256', hold(KEY), hold(SALT), hold(IV), 32))),
    same(
      'crypto.hkdf',
      async (hold) => new Uint8Array(await promisify(crypto.hkdf)('sha256', hold(KEY), hold(SALT), hold(IV), 32))
    ),
    {
      ...same('crypto.argon2Sync', (hold) =>
        newer.argon2Sync('argon2id', {
          message: hold(KEY),
          nonce: hold(SALT),
          parallelism: 1,
          tagLength: 32,
          memory: 8,
          passes: 1,
        })
      ),
      since: 24,
      exists: () => 'argon2Sync' in crypto,
    },
    {
      name: 'crypto.randomFillSync',
      use: (memory) => filled(crypto.randomFillSync(memory.room())),
    },
    {
      name: 'crypto.randomFill',
      async use(memory) {
        const room = memory.room()
        await promisify<Buffer, Buffer>(crypto.randomFill)(room)
        filled(room)
      },
    },
    {
      name: 'crypto.timingSafeEqual',
      use(memory) {
        expect(crypto.timingSafeEqual(memory.holding(), memory.holding()), 'equal bytes differ')
        const other = memory.holding()
        other[1000]! ^= 1
        expect(!crypto.timingSafeEqual(memory.holding(), other), 'different bytes are equal')
      },
    },
    {
      name: 'crypto.checkPrimeSync',
      use(memory) {
        const prime = 2n ** 127n - 1n
        const bytes = (value: bigint) => Buffer.from(value.toString(16).padStart(32, '0'), 'hex')
        expect(crypto.checkPrimeSync(memory.holding(bytes(prime))), 'a prime is none')
        expect(!crypto.checkPrimeSync(memory.holding(bytes(prime - 2n))), 'a prime that is none')
      },
    },
    {
      name: 'new crypto.X509Certificate',
      use(memory) {
        const [pem] = tls.rootCertificates
        expectBytes(new crypto.X509Certificate(memory.holding(pem!)).raw, new crypto.X509Certificate(pem!).raw)
      },
    },
    same('crypto.createDiffieHellman, a prime and a generator', (hold) => {
      const group = crypto.getDiffieHellman('modp1')
      return crypto.createDiffieHellman(hold(group.getPrime()), hold(group.getGenerator())).getPrime()
    }),
  ],
}

export const webcryptoApis: ApiGroup = {
  title: 'WebCrypto',
  apis: [
    {
      name: 'crypto.getRandomValues',
      use: (memory) => filled(webcrypto.getRandomValues(memory.room())),
    },
    {
      name: 'crypto.subtle.digest',
      use: async (memory) => expectBytes(await subtle.digest('SHA-256', memory.holding()), sha256(SAMPLE)),
    },
    {
      name: 'crypto.subtle.importKey',
      use: async (memory) => expectBytes(await subtle.exportKey('raw', await aesKey(memory.holding(KEY))), KEY),
    },
    {
      name: 'crypto.subtle.encrypt',
      async use(memory) {
        const text = await subtle.encrypt({ name: 'AES-GCM', iv: IV }, await aesKey(), memory.holding())
        expectBytes(await subtle.decrypt({ name: 'AES-GCM', iv: IV }, await aesKey(), text))
      },
    },
    {
      name: 'crypto.subtle.decrypt',
      async use(memory) {
        const text = await subtle.encrypt({ name: 'AES-GCM', iv: IV }, await aesKey(), SAMPLE)
        const secret = memory.holding(new Uint8Array(text))
        expectBytes(await subtle.decrypt({ name: 'AES-GCM', iv: IV }, await aesKey(), secret))
      },
    },
    {
      name: 'crypto.subtle.encrypt, iv in a buffer',
      async use(memory) {
        const text = await subtle.encrypt({ name: 'AES-GCM', iv: memory.holding(IV) }, await aesKey(), SAMPLE)
        expectBytes(await subtle.decrypt({ name: 'AES-GCM', iv: IV }, await aesKey(), text))
      },
    },
    {
      name: 'crypto.subtle.sign',
      async use(memory) {
        const signature = await subtle.sign('HMAC', await hmacKey(), memory.holding())
        expectBytes(signature, crypto.createHmac('sha256', KEY).update(SAMPLE).digest())
      },
    },
    {
      name: 'crypto.subtle.verify',
      async use(memory) {
        const signature = memory.holding(crypto.createHmac('sha256', KEY).update(SAMPLE).digest())
        expect(await subtle.verify('HMAC', await hmacKey(), signature, memory.holding()), 'it is not accepted')
      },
    },
    {
      name: 'crypto.subtle.deriveBits, salt in a buffer',
      async use(memory) {
        const key = await subtle.importKey('raw', KEY, 'PBKDF2', false, ['deriveBits'])
        const bits = (salt: Uint8Array) =>
          subtle.deriveBits({ name: 'PBKDF2', salt, iterations: 10, hash: 'SHA-256' }, key, 256)
        expectBytes(await bits(memory.holding(SALT)), new Uint8Array(await bits(SALT)))
      },
    },
    {
      name: 'crypto.subtle.encrypt, additionalData in a buffer',
      async use(memory) {
        const params = { name: 'AES-GCM', iv: IV }
        const additionalData = memory.holding(SALT)
        const text = await subtle.encrypt({ ...params, additionalData }, await aesKey(), SAMPLE)
        expectBytes(await subtle.decrypt({ ...params, additionalData: SALT }, await aesKey(), text))
      },
    },
    {
      name: 'crypto.subtle.unwrapKey',
      async use(memory) {
        const params = { name: 'AES-GCM', iv: IV }
        const wrapping = await subtle.importKey('raw', KEY, 'AES-GCM', false, ['wrapKey', 'unwrapKey'])
        const wrapped = await subtle.wrapKey('raw', await aesKey(), wrapping, params)
        const bytes = memory.holding(new Uint8Array(wrapped))
        const key = await subtle.unwrapKey('raw', bytes, wrapping, params, 'AES-GCM', true, ['encrypt'])
        expectBytes(await subtle.exportKey('raw', key), KEY)
      },
    },
  ],
}
