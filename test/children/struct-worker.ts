// A worker that reads and writes records whose addresses it is sent.
import { parentPort, workerData } from 'node:worker_threads'
import { Heap, type HeapToken } from '../../lib/index.ts'
import { Order } from '../support/order.ts'

const heap = Heap.attach((workerData as { token: HeapToken }).token)
parentPort!.on('message', ({ record, array, length }: { record: number; array: number; length: number }) => {
  const order = Order.at(heap, record)
  const orders = Order.arrayAt(heap, array, length)
  let total = 0
  for (const { qty } of orders) total += qty
  order.qty = total
  const { symbol } = order
  orders.free()
  parentPort!.postMessage({ symbol, id: order.id })
})
