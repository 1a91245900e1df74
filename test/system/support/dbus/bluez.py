'''BlueZ with a trail camera: extends python-dbusmock's bluez5 template, which has neither GATT nor failures.

AddCamera adds a device whose characteristics behave as docs/protocol/artemis.md, "Bluetooth", says. What it does wrong
is chosen by `fault`: refuse, no-services, silent, lost, lost-write, garbage.
'''
# pylint: disable=wildcard-import,unused-wildcard-import
import dbus
from dbusmock import mockobject, OBJECT_MANAGER_IFACE
from dbusmock.templates.bluez5 import *
from dbusmock.templates import bluez5
from gi.repository import GLib

BUS_NAME = bluez5.BUS_NAME
MAIN_OBJ = bluez5.MAIN_OBJ
SYSTEM_BUS = True
IS_OBJECT_MANAGER = True
CHARACTERISTIC_IFACE = 'org.bluez.GattCharacteristic1'
SERVICE_IFACE = 'org.bluez.GattService1'
BASE = '-0000-1000-8000-00805f9b34fb'


def load(mock, parameters):
    bluez5.load(mock, parameters)


def changed(obj, iface, values):
    for name, value in values.items():
        obj.props[iface][name] = value
    obj.EmitSignal(dbus.PROPERTIES_IFACE, 'PropertiesChanged', 'sa{sv}as', [iface, values, []])


def adapter_of(device):
    return mockobject.objects[device.props[DEVICE_IFACE]['Adapter']]


@dbus.service.method(BLUEZ_MOCK_IFACE, in_signature='sb', out_signature='')
def SetPowered(_self, adapter, powered):
    '''Switches an adapter; while it is off its methods answer NotReady, as bluetoothd does.'''
    obj = mockobject.objects['/org/bluez/' + adapter]
    changed(obj, ADAPTER_IFACE, {'Powered': dbus.Boolean(powered, variant_level=1)})


@dbus.service.method(ADAPTER_IFACE, in_signature='', out_signature='')
def start_discovery(adapter):
    if not adapter.props[ADAPTER_IFACE]['Powered']:
        raise dbus.exceptions.DBusException('Resource Not Ready', name='org.bluez.Error.NotReady')
    changed(adapter, ADAPTER_IFACE, {'Discovering': dbus.Boolean(True, variant_level=1)})
    for camera in getattr(adapter, 'cameras', []):
        GLib.timeout_add(camera['after'], advertise, camera)


@dbus.service.method(ADAPTER_IFACE, in_signature='', out_signature='')
def stop_discovery(adapter):
    changed(adapter, ADAPTER_IFACE, {'Discovering': dbus.Boolean(False, variant_level=1)})


def advertise(camera):
    manager = mockobject.objects['/']
    if camera['path'] not in mockobject.objects:
        manager.AddDevice(camera['adapter'], camera['address'], camera['name'])
        device = mockobject.objects[camera['path']]
        device.AddMethods(DEVICE_IFACE, [('Connect', '', '', connect), ('Disconnect', '', '', disconnect)])
        device.camera = camera
    return False


def connect(device):
    if device.camera['fault'] == 'refuse':
        raise dbus.exceptions.DBusException('le-connection-abort-by-local', name='org.bluez.Error.Failed')
    device.connected = True
    changed(device, DEVICE_IFACE, {'Connected': dbus.Boolean(True, variant_level=1)})
    if device.camera['fault'] != 'no-services':
        GLib.timeout_add(30, resolve, device)


def disconnect(device):
    device.connected = False
    changed(device, DEVICE_IFACE, {
        'Connected': dbus.Boolean(False, variant_level=1),
        'ServicesResolved': dbus.Boolean(False, variant_level=1),
    })


def resolve(device):
    manager = mockobject.objects['/']
    service = device.path + '/service0010'
    if service not in mockobject.objects:
        manager.AddObject(service, SERVICE_IFACE, {'UUID': '00008800' + BASE, 'Primary': True}, [])
        manager.AddObject(service + '/char0011', CHARACTERISTIC_IFACE,
                          {'UUID': '00000002' + BASE, 'Flags': dbus.Array(['write'], signature='s')},
                          [('WriteValue', 'aya{sv}', '', write_value)])
        manager.AddObject(service + '/char0013', CHARACTERISTIC_IFACE,
                          {'UUID': '00000003' + BASE, 'Flags': dbus.Array(['notify'], signature='s'),
                           'Notifying': False, 'Value': dbus.Array([], signature='y')},
                          [('StartNotify', '', '', start_notify), ('StopNotify', '', '', stop_notify)])
    for name in ('/char0011', '/char0013'):
        mockobject.objects[service + name].device = device
    changed(device, DEVICE_IFACE, {'ServicesResolved': dbus.Boolean(True, variant_level=1)})
    return False


def start_notify(characteristic):
    changed(characteristic, CHARACTERISTIC_IFACE, {'Notifying': dbus.Boolean(True, variant_level=1)})


def stop_notify(characteristic):
    if not characteristic.device.connected:
        raise dbus.exceptions.DBusException('Not connected', name='org.bluez.Error.Failed')
    changed(characteristic, CHARACTERISTIC_IFACE, {'Notifying': dbus.Boolean(False, variant_level=1)})


def write_value(characteristic, value, _options):
    device = characteristic.device
    fault = device.camera['fault']
    device.camera['written'] = bytes(value).hex()
    if fault == 'lost-write':
        disconnect(device)
        raise dbus.exceptions.DBusException('Not connected', name='org.bluez.Error.Failed')
    if fault == 'silent':
        return
    answer = device.camera['answer'] if fault != 'garbage' else b'no camera'
    pieces = [answer[at:at + 20] for at in range(0, len(answer), 20)]
    source = mockobject.objects[characteristic.path.replace('char0011', 'char0013')]
    for number, piece in enumerate(pieces):
        if fault == 'lost' and number == 2:
            GLib.timeout_add(20 * (number + 1), lambda: disconnect(device))
            return
        GLib.timeout_add(20 * (number + 1), notify, source, piece)


def notify(source, piece):
    if source.device.connected and source.props[CHARACTERISTIC_IFACE]['Notifying']:
        changed(source, CHARACTERISTIC_IFACE, {'Value': dbus.Array(piece, signature='y', variant_level=1)})
    return False


@dbus.service.method(BLUEZ_MOCK_IFACE, in_signature='sssssu', out_signature='s')
def AddCamera(_self, adapter, address, name, answer, fault, after):
    '''Adds a camera that advertises `after` ms after the start of a discovery. `answer` is in hexadecimal digits.'''
    obj = mockobject.objects['/org/bluez/' + adapter]
    path = '/org/bluez/' + adapter + '/dev_' + address.replace(':', '_')
    obj.cameras = getattr(obj, 'cameras', [])
    obj.cameras.append({'adapter': adapter, 'address': address, 'name': name, 'answer': bytes.fromhex(answer),
                        'fault': fault, 'after': after, 'path': path, 'written': ''})
    obj.AddMethods(ADAPTER_IFACE, [('StartDiscovery', '', '', start_discovery), ('StopDiscovery', '', '', stop_discovery)])
    return path


@dbus.service.method(BLUEZ_MOCK_IFACE, in_signature='s', out_signature='s')
def Written(_self, path):
    '''What was last written to a camera, in hexadecimal digits.'''
    return mockobject.objects[path].camera['written']
