export { SimulatedMapper, type SimulatedSystem } from '../os/simulated-mapper.ts'
